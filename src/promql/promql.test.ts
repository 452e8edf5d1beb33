import { AdHocVariableFilter } from '@grafana/data';
import { isVariable, mask, quote, selector, unquote } from './text';
import { syntaxErrors, withFilters } from './tree';

describe('variables are masked', () => {
  it.each([
    ['up', 'up'],
    ['$metric', '_metric'],
    ['${metric:raw}{a="b"}', '__metric_raw_{a="b"}'],
    ['[[metric]]', '__metric__'],
    ['job:$rule', 'job:0001s'], // still part of a name
    ['rate(up[$__rate_interval])', 'rate(up[000000000000001s])'],
    ['rate(up[$r])', 'rate(up[1s])'],
    ['rate(up[ ${r} ])', 'rate(up[ 001s ])'],
    ['rate(up[${n}m])', 'rate(up[0001m])'],
    ['rate(up[5m:$r])', 'rate(up[5m:1s])'],
    ['up offset $o', 'up offset 1s'],
    ['up @ $t', 'up @ 01'],
    ['up / $__range_s', 'up / 0000000001'],
    ['up / ${__interval_ms}', 'up / 0000000000000001'],
    ['topk($n, up)', 'topk(_n, up)'],
    ['sum by ($l, ${m:csv}) (up)', 'sum by (_l, __m_csv_) (up)'],
    ['{a="${", b="}"}', '{a="${", b="}"}'],
  ])('%s', (expr, masked) => {
    expect(mask(expr)).toBe(masked);
    expect(masked).toHaveLength(expr.length);
  });

  it.each<[string, boolean]>([
    ['$a', true],
    ['${a:csv}', true],
    ['[[a]]', true],
    [' $a ', true],
    ['a$a', false],
    ['$a$b', false],
    ['', false],
  ])('%s is one: %s', (text, wanted) => {
    expect(isVariable(text)).toBe(wanted);
  });
});

describe('syntax errors', () => {
  it.each<[string, Array<[number, number]>]>([
    ['', []],
    ['up', []],
    ['rate(up[$__rate_interval])', []],
    ['sum(up', [[6, 6]]],
    ['up{a="b"', [[8, 8]]],
    ['up{$filters}', []], // may be valid
    ['up )', [[3, 4]]],
  ])('%s: %j', (expr, wanted) => {
    expect(syntaxErrors(expr).map(({ from, to }) => [from, to])).toEqual(wanted);
  });
});

describe('texts', () => {
  it.each(['', 'a', 'a"b', 'a\\b', 'a\nb', "a'b", 'ä€😀', '\\\\"'])('%j are quoted and unquoted', (text) => {
    expect(unquote(quote(text))).toBe(text);
  });

  it.each([
    ["'a'", 'a'],
    ['`a\\d`', 'a\\d'],
    ['"\\t\\x41\\u00e4"', '\tAä'],
    ['"\\q"', undefined],
    ['"a', undefined],
    ['"', undefined],
  ])('%s', (literal, text) => {
    expect(unquote(literal)).toBe(text);
  });
});

describe('selector', () => {
  it.each<[string, Parameters<typeof selector>, string]>([
    ['metric', ['up', []], 'up'],
    ['nothing', ['', []], ''],
    ['matchers', ['', [{ label: 'a', op: '=~', value: 'b"' }]], '{a=~"b\\""}'],
    ['other names', ['my.metric', [{ label: 'my.label', op: '=', value: '' }]], '{"my.metric", "my.label"=""}'],
    ['variables', ['$m', [{ label: '${l}', op: '=', value: '$v' }]], '$m{${l}="$v"}'],
  ])('%s', (_, args, wanted) => {
    expect(selector(...args)).toBe(wanted);
  });
});

describe('filters', () => {
  const host: AdHocVariableFilter = { key: 'host', operator: '=', value: 'a"b' };
  it.each([
    ['up', 'up{host="a\\"b"}'],
    ['up{}', 'up{host="a\\"b"}'],
    ['up{ a="b" }', 'up{ a="b", host="a\\"b" }'],
    ['up{a="b",}', 'up{a="b", host="a\\"b",}'],
    ['{"my.metric"}', '{"my.metric", host="a\\"b"}'],
    [
      'sum by (a) (rate(up[$__rate_interval])) / on (a) up{x="y"}',
      'sum by (a) (rate(up{host="a\\"b"}[$__rate_interval])) / on (a) up{x="y", host="a\\"b"}',
    ],
    ['up / $__range_s', 'up{host="a\\"b"} / $__range_s'],
    ['label_replace(up, "up", "$1", "b", "(.*)")', 'label_replace(up{host="a\\"b"}, "up", "$1", "b", "(.*)")'],
    ['time()', 'time()'],
  ])('are added to every selector of %s', (expr, wanted) => {
    expect(withFilters(expr, [host])).toBe(wanted);
  });

  it.each<[Partial<AdHocVariableFilter>, string]>([
    [{ operator: '!=', value: 'x' }, 'up{a!="x"}'],
    [{ operator: '=~', value: 'x.*' }, 'up{a=~"x.*"}'],
    [{ operator: '=|', value: 'x', values: ['x.y', 'z'] }, 'up{a=~"x\\\\.y|z"}'],
    [{ operator: '!=|', value: 'x', values: ['x', 'z'] }, 'up{a!~"x|z"}'],
    [{ operator: '<', value: '1' }, 'up{a<"1"}'], // the back end refuses it: leaving the filter out would show too much
  ])('%j: %s', (filter, wanted) => {
    expect(withFilters('up', [{ key: 'a', operator: '', value: '', ...filter }])).toBe(wanted);
  });

  it.each([
    'sum(up',
    'WITH (x = up) x',
    'rate(up[5m]) keep_metric_names',
    'up default 0',
    'up{a="b" or c="d"}',
    'sum(up) limit 5',
  ])('are never left out: %s is an error', (expr) => {
    expect(() => withFilters(expr, [host])).toThrow("The dashboard's filters cannot be added to this query");
    expect(withFilters(expr, [])).toBe(expr);
  });

  it('are several or none', () => {
    expect(withFilters('up', [])).toBe('up');
    expect(withFilters('up', [host, { ...host, key: 'b' }])).toBe('up{host="a\\"b", b="a\\"b"}');
  });
});
