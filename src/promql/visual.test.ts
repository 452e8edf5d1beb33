import { toExpr, toVisual, Visual, isEquivalent, isNumber, isRange } from './visual';

describe('an expression that the builder can show', () => {
  it.each<[string, string?]>([
    ['up'],
    ['job:up:sum'],
    ['$metric'],
    ['${metric:raw}{a="b"}'],
    ['up{a="b", c!="d", e=~"f.*", g!~"h"}'],
    [`up{ a = 'b',}`, 'up{a="b"}'],
    ['up{}', 'up'],
    ['{a="b"}'],
    ['{__name__=~"node_.*"}'],
    ['{"my.metric", "my.label"="x"}'],
    ['up{a="\\"\\\\", b="\\n", c=""}'],
    ['up{a=`\\d`}', 'up{a="\\\\d"}'],
    ['up{a="$host", b=~"${host:regex}", c="[[host]]"}'],
    ['up{$label="x"}'],
    ['rate(up[5m])'],
    ['rate(up{a="b"}[$__rate_interval])'],
    ['rate((up)[5m])', 'rate(up[5m])'],
    ['increase(up[${__range}])'],
    ['increase(up[$__range_s])'],
    ['avg_over_time(up[$range])'],
    ['avg_over_time(up[${n}m])'],
    ['avg_over_time(up[1h30m])'],
    ['avg_over_time(up[2 * 5m])'],
    ['quantile_over_time(0.9, up[5m])'],
    ['quantile_over_time($q, up[5m])'],
    ['predict_linear(up[1h], 4 )', 'predict_linear(up[1h], 4)'],
    ['sum(up)'],
    ['(sum(up))', 'sum(up)'],
    ['SUM(up)', 'sum(up)'],
    ['sum by (a, b) (rate(up[5m]))'],
    ['sum(rate(up[5m])) by (a,b)', 'sum by (a, b) (rate(up[5m]))'],
    ['sum without () (up)'],
    ['sum by ($labels, "my.label") (up)'],
    ['topk(5, up)'],
    ['topk by (a) ($n, up)'],
    ['quantile(0.5, up)'],
    ['histogram_quantile(0.95, sum by (le) (rate(x_bucket[5m])))'],
    ['clamp(up, -1, 1e3)'],
    ['round(up)'],
    ['round(up, 0.1)'],
    ['up * 100'],
    ['up / 2 * 3', '(up / 2) * 3'],
    ['(up + 1) * 2'],
    ['sum(up * 8) > 5', 'sum(up * 8) > 5'],
    ['up - -5'],
    ['up > $limit'],
    ['up * 100 % 7', '(up * 100) % 7'],
    ['sum_over_time(up[5m])\n  / 60', 'sum_over_time(up[5m]) / 60'],
  ])('%s', (expr, rendered = expr) => {
    const visual = toVisual(expr);
    expect(visual && toExpr(visual)).toBe(rendered);
    expect(isEquivalent(expr, rendered)).toBe(true);
    expect(toVisual(rendered)).toEqual(visual);
  });

  it('is taken apart', () => {
    expect(toVisual('topk(3, sum by (a) (rate(up{b!="c"}[5m])) * 2)')).toEqual<Visual>({
      metric: 'up',
      filters: [{ label: 'b', op: '!=', value: 'c' }],
      operations: [
        { kind: 'range', name: 'rate', range: '5m', params: [] },
        { kind: 'aggregation', name: 'sum', params: [], grouping: 'by', labels: ['a'] },
        { kind: 'calculation', name: '*', number: '2' },
        { kind: 'aggregation', name: 'topk', params: ['3'], grouping: undefined, labels: [] },
      ],
    });
  });
});

describe('an expression that only code can show', () => {
  it.each([
    'up + up',
    '1',
    '2 * up',
    '-up',
    'time()',
    'up offset 5m',
    'up @ 1700000000',
    'up @ end()',
    'up[5m]',
    'rate(up[5m:1m])',
    'max_over_time(rate(up[5m])[1h:])',
    'rate(sum(up)[5m:])',
    'up > bool 1',
    'up and on (a) up',
    'up * 2 ^ 3',
    'label_replace(up, "a", "$1", "b", "(.*)")',
    'count_values("v", up)',
    'topk(scalar(up), up)',
    'up # why',
    '# why\nup',
    'sum(up',
    'sum by (',
    'up{a="b',
    'up{a="\\q"}',
    'up{$filters}',
    'up{a="b", up}',
    'rate(up)',
    'rate(up[5m] offset 5m)',
    'nosuch(up)',
    'up up',
    '"up"',
  ])('%s', (expr) => {
    expect(toVisual(expr)).toBeUndefined();
  });
});

describe('the builder', () => {
  it('has nothing to say while nothing is selected', () => {
    expect(toVisual('  ')).toEqual({ metric: '', filters: [], operations: [] });
    const operations: Visual['operations'] = [{ kind: 'range', name: 'rate', range: '5m', params: [] }];
    expect(toExpr({ metric: '', filters: [], operations })).toBe('');
    expect(toExpr({ metric: '', filters: [{ label: 'a', op: '=' }], operations })).toBe('');
    expect(toExpr({ metric: '', filters: [{ label: 'a', op: '=', value: '' }], operations })).toBe('rate({a=""}[5m])');
  });

  it('leaves out filters that are not complete', () => {
    const filters = [
      { label: 'a', op: '=', value: 'b' },
      { op: '=' },
      { label: 'c', op: '=' },
      { op: '=', value: 'x' },
    ];
    expect(toExpr({ metric: 'up', filters, operations: [] })).toBe('up{a="b"}');
  });

  it.each(['1', '0.95', '1e3', '-2', ' 5 ', '$n', '${n:raw}', '5m', 'Inf'])('takes %s for a number', (text) => {
    expect(isNumber(text)).toBe(true);
  });

  it.each(['', 'a', '1 2', 'up', '$a + 1', '"1"'])('does not take %s for a number', (text) => {
    expect(isNumber(text)).toBe(false);
  });

  it.each(['5m', '1h30m', '$__rate_interval', '$r', '${n}m', '300'])('takes %s for a range', (text) => {
    expect(isRange(text)).toBe(true);
  });

  it.each(['', 'a', '5x', '5m:1m', '5m] ', '5m]) + (x'])('does not take %s for a range', (text) => {
    expect(isRange(text)).toBe(false);
  });
});
