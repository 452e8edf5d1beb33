import { setTemplateSrv, TemplateSrv } from '@grafana/runtime';
import { Names } from './names';
import { contextAt, suggest } from './completion';

/** The place of the cursor is marked by ‸. */
const cut = (marked: string) => ({ expr: marked.replace('‸', ''), pos: marked.indexOf('‸') });

describe('what may come at', () => {
  it.each<[string, string, Record<string, unknown>?]>([
    ['‸', 'expression'],
    ['no‸', 'expression', { from: 0, to: 2 }],
    ['no‸de', 'expression', { from: 0, to: 4 }],
    ['rate(‸', 'expression'],
    ['rate(‸)', 'expression'],
    ['rate(no‸)', 'expression', { from: 5, to: 7 }],
    ['sum by (a) (‸)', 'expression'],
    ['topk(5, ‸', 'expression'],
    ['up + ‸', 'expression'],
    ['up + on (a) ‸', 'expression'],
    ['up and ‸', 'expression'],
    ['up{a="b"} / do‸', 'expression'],
    ['up ‸', 'operator'],
    ['up o‸', 'operator', { from: 3, to: 4 }],
    ['sum(up) ‸', 'operator'],
    ['sum(up) b‸', 'operator'],
    ['up{a="b"} ‸', 'operator'],
    ['rate(up[5m]‸', 'operator'],
    ['up{‸', 'label', { match: 'up' }],
    ['up{‸}', 'label', { match: 'up' }],
    ['{‸}', 'label', { match: undefined }],
    ['up{a="b", ‸}', 'label', { match: 'up{a="b"}' }],
    ['up{‸, a="b"}', 'label', { match: 'up{a="b"}' }],
    ['up{ab‸="c", d="e"}', 'label', { match: 'up{d="e"}', from: 3, to: 5 }],
    ['up{a="b"‸}', 'none'],
    ['up{a ‸', 'matchOperator'],
    ['up{a=‸', 'value', { label: 'a', op: '=', match: 'up', closing: '}' }],
    ['up{a="‸', 'value', { label: 'a', match: 'up', opened: '"', closing: '"}', from: 6, to: 6 }],
    ['up{a="‸"}', 'value', { label: 'a', opened: '"', closing: '"', from: 6, to: 7 }],
    ['up{a="x‸y"}', 'value', { from: 6, to: 9, closing: '"' }],
    ['up{a="x‸}', 'value', { from: 6, to: 7, closing: '"' }],
    ['up{a="‸"', 'value', { from: 6, to: 7, closing: '"}' }],
    ['sum(up{a="‸")', 'value', { closing: '"}' }],
    ['up{a="b|c‸"}', 'value', { op: '=', from: 6, to: 10, closing: '"' }],
    ['up{a=~"b|c‸"}', 'value', { op: '=~', from: 9, to: 11, closing: '"' }],
    ['up{a=~"b|c‸"', 'value', { from: 9, to: 11, closing: '"}' }],
    ['up{a=~"b|c‸', 'value', { from: 9, to: 10, closing: '"}' }],
    ['up{a=~"b|‸|d"}', 'value', { from: 9, to: 9, closing: '' }],
    ['up{a=~"b‸c|d"}', 'value', { from: 7, to: 9, closing: '' }],
    ['up{a=~"b‸c|d"', 'value', { from: 7, to: 9, closing: '' }],
    ['up{a!~`x(?:b|‸c)y`}', 'value', { op: '!~', from: 13, to: 14, closing: '' }],
    ['up{a=~"(b|c)‸"}', 'value', { from: 12, to: 13, closing: '"' }],
    ['up{a=~"b[|(]‸c"}', 'value', { from: 7, to: 14, closing: '"' }],
    ['up{a=~"b\\\\|‸c"}', 'value', { from: 7, to: 13, closing: '"' }],
    ['up{a=~"b\\\\\\\\|‸c"}', 'value', { from: 13, to: 15, closing: '"' }],
    ['up{a=~`b\\|‸c`}', 'value', { from: 7, to: 12, closing: '`' }],
    ['up{a=x‸}', 'value', { from: 5, to: 6, closing: '' }],
    ['up{a=‸, b="c"}', 'value', { match: 'up{b="c"}', closing: '' }],
    ['up{a="b", c ‸}', 'matchOperator'],
    ['up{"温度" ‸}', 'matchOperator'],
    ['up[5m] ‸', 'operator'],
    ['rate(up[5m] ‸', 'operator'],
    ['up offset ‸', 'range'],
    ['up @ ‸', 'none'],
    ['sum ‸(up)', 'operator'],
    ['up == bool ‸', 'expression'],
    ['a + b‸ + c', 'expression', { from: 4, to: 5 }],
    ['sum by (‸) (a{b="c"}) / d', 'label', { match: 'a{b="c"}' }],
    ['up and on (x) group_left (‸) down', 'label', { match: '{__name__=~"up|down"}' }],
    ['up{a!~"‸", b="c"}', 'value', { op: '!~', match: 'up{b="c"}' }],
    ["up{a='‸'}", 'value', { opened: "'", closing: "'" }],
    ['温‸', 'expression', { from: 0, to: 1 }],
    ['{"温度", ‸}', 'label', { match: '{"温度"}' }],
    ['{"温度", "Gerät"="‸"}', 'value', { label: 'Gerät', match: '{"温度"}' }],
    ['{"Gerät"="ü", ‸}', 'label', { match: '{"Gerät"="ü"}' }],
    ['sum by (‸) ({"温度", "Gerät"="ü"})', 'label', { match: '{"温度", "Gerät"="ü"}' }],
    ['sum by (‸) (rate(up{a="b"}[5m]))', 'label', { match: 'up{a="b"}' }],
    ['sum(rate(up[5m])) by (‸', 'label', { match: 'up' }],
    ['sum by (a, ‸) (up)', 'label', { match: 'up' }],
    ['up / on (‸) down', 'label', { match: '{__name__=~"up|down"}' }],
    ['sum by (‸)', 'label', { match: undefined }],
    ['rate(up[‸', 'range'],
    ['rate(up[‸])', 'range'],
    ['rate(up[5‸m])', 'none'],
    ['max_over_time(up[1h:‸])', 'range'],
    ['rate(up[$‸])', 'variable', { from: 8, to: 9, quoted: false }],
    ['rate(up[$__r‸ate])', 'variable', { from: 8, to: 15 }],
    ['up{a="$‸"}', 'variable', { from: 6, to: 7, quoted: true }],
    ['up{a="x-${h‸}"}', 'variable', { from: 8, to: 12, quoted: true }],
    ['$‸', 'variable', { from: 0, to: 1 }],
    ['up # co‸', 'none'],
    ['label_replace(up, "‸"', 'none'],
    ['topk(5‸', 'none'],
  ])('%s', (marked, kind, more = {}) => {
    const { expr, pos } = cut(marked);
    expect(contextAt(expr, pos)).toMatchObject({ kind, ...more });
  });
});

describe('suggestions', () => {
  const asked: unknown[] = [];
  const answers: Record<string, unknown> = {
    metrics: [
      { name: 'up', type: 'gauge', unit: '', help: 'Whether it is.' },
      { name: '温度', type: '', unit: '', help: '' },
    ],
    labels: ['__name__', 'host', 'job', 'Gerät'],
    'labels/host/values': ['a"b', 'c.d'],
  };
  const names = new Names({
    getResource: (path: string, params: unknown) => {
      asked.push([path, params]);
      return Promise.resolve(answers[path]);
    },
  } as unknown as ConstructorParameters<typeof Names>[0]);

  beforeEach(() => {
    asked.length = 0;
    setTemplateSrv({ replace: (text: string) => text.replaceAll('$host', 'x') } as unknown as TemplateSrv);
  });

  async function suggested(marked: string) {
    const { expr, pos } = cut(marked);
    const { suggestions } = await suggest(expr, pos, names, ['$host']);
    return new Map(suggestions.map((suggestion) => [suggestion.label, suggestion]));
  }

  it('are metrics with what they are, functions and variables', async () => {
    const all = await suggested('u‸');
    expect(all.get('up')).toMatchObject({ kind: 'metric', detail: 'gauge', help: 'Whether it is.' });
    expect(all.get('rate')).toMatchObject({ insert: 'rate(|[$__rate_interval])' });
    expect(all.get('quantile_over_time')).toMatchObject({ insert: 'quantile_over_time(0.95, |[$__interval])' });
    expect(all.get('round')).toMatchObject({ insert: 'round(|)' });
    expect(all.get('topk')).toMatchObject({ insert: 'topk(5, |)', kind: 'aggregation' });
    expect(all.has('$host')).toBe(true);
    expect(asked).toEqual([['metrics', { limit: 1000, search: 'u' }]]);
  });

  it('are names in quotes where they need them', async () => {
    expect((await suggested('u‸')).get('up')?.insert).toBe('up');
    expect((await suggested('温‸')).get('温度')?.insert).toBe('{"温度"}');
    const labels = await suggested('up{‸}');
    expect([labels.get('job')?.insert, labels.get('Gerät')?.insert]).toEqual(['job', '"Gerät"']);
  });

  it('are labels of the series that are meant', async () => {
    expect([...(await suggested('up{a="$host", ‸}')).keys()]).toEqual(['host', 'job', 'Gerät', '$host']);
    expect(asked).toEqual([['labels', { limit: 1001, match: 'up{a="x"}' }]]);
  });

  it.each([
    ['up{host=‸}', ['"a\\"b"', '"c.d"', '"$host"']],
    ['up{host="‸"}', ['a\\"b"', 'c.d"', '$host"']],
    ['up{host="‸', ['a\\"b"}', 'c.d"}', '$host"}']],
    ['up{host="‸"', ['a\\"b"}', 'c.d"}', '$host"}']],
    ['up{host=~"‸"}', ['a\\"b"', 'c\\\\.d"', '$host"']],
    ["up{host='‸'}", ['a"b\'', "c.d'", "$host'"]],
    ['up{host=`‸`}', ['a"b`', 'c.d`', '$host`']],
    ['up{host=~"x|‸"}', ['a\\"b"', 'c\\\\.d"', '$host"']],
    ['up{host=~"x|‸|y"}', ['a\\"b', 'c\\\\.d', '$host']],
    ['up{host=~"x|‸', ['a\\"b"}', 'c\\\\.d"}', '$host"}']],
  ])('are values for %s, written as they have to be there', async (marked, wanted) => {
    expect([...(await suggested(marked)).values()].map(({ insert }) => insert)).toEqual(wanted);
  });

  it.each([
    ['up{host=x‸}', 'x'],
    ['up{host="a b‸"}', 'a b'],
    ['up{host="a\\"‸"}', 'a"'],
    ['up{host="x|c.‸"}', 'x|c.'],
    ['up{host=~"x|c.‸"}', 'c.'],
    ['up{host=~"x|c\\\\.‸"}', 'c.'],
    ['up{host=~"x|c‸.d|y"}', 'c'],
    ['up{host=~"(x|c‸"}', 'c'],
    ['up{host=~`x|c\\.‸`}', 'c.'],
    ['up{host=~"x|‸"}', undefined],
  ])('are asked for by what is being typed: %s', async (marked, search) => {
    await suggested(marked);
    expect(asked).toEqual([['labels/host/values', { limit: 1000, match: 'up', ...(search && { search }) }]]);
  });

  it.each([
    ['metrics', 'u‸p', 'up'],
    ['labels', 'up{h‸o}', 'ho'],
    ['labels/host/values', 'up{host=~"a|h‸o|b"}', 'ho'],
  ])('of %s say that there are more, and choosing that changes nothing', async (path, marked, insert) => {
    const known = answers[path];
    answers[path] = Array.from({ length: 1000 }, (_, i) => (path === 'metrics' ? { name: `n${i}` } : `n${i}`));
    const all = await suggested(marked);
    answers[path] = known;
    expect(all.get('The first 1,000. Type to find others.')).toMatchObject({ kind: 'more', insert });
  });

  it('are ranges', async () => {
    expect([...(await suggested('rate(up[‸])')).keys()].slice(0, 4)).toEqual([
      '$__rate_interval',
      '$__interval',
      '$__range',
      '1m',
    ]);
  });
});
