import { AnnotationEvent, DataFrame, FieldConfig, FieldType, MappingType, toDataFrame } from '@grafana/data';
import { EventOptions, eventsOf, MOST_EVENTS } from './events';

const START = Date.UTC(2026, 9, 25); // clocks are set back on this day in Berlin
const STEP = 60_000;

type Values = Array<number | null | undefined>;

/** Rows a step apart, with a field for each series: its name, labels and values. */
function frameOf(series: Array<[string, Record<string, string>, Values]>, config: FieldConfig = {}): DataFrame {
  const length = series[0]?.[2].length ?? 0;
  const times = Array.from({ length }, (_, row) => START + row * STEP);
  return toDataFrame({
    fields: [
      { name: 'time', type: FieldType.time, values: times, config: { interval: STEP } },
      ...series.map(([name, labels, values]) => ({ name, type: FieldType.number, labels, values, config })),
    ],
  });
}

/** Events in short: first and last row, then the texts that are not empty. */
const inShort = (events: AnnotationEvent[]) =>
  events.map(({ time, timeEnd, title, text, tags }) =>
    [`${(time! - START) / STEP}-${(timeEnd! - START) / STEP}`, title, text, tags?.join()].filter(Boolean).join('|'),
  );

const NAN = Number.NaN;

describe('rows above 0', () => {
  it.each<[string, Values, string[]]>([
    ['no rows', [], []],
    ['none above 0', [0, -1, null, NAN, undefined], []],
    ['one row is an event', [0, 1, 0], ['1-1|up']],
    ['rows that follow one another are a region', [0, 1, 2, 3, 0], ['1-3|up']],
    ['0 ends a region', [1, 1, 0, 1, 1], ['0-1|up', '3-4|up']],
    ['null ends a region', [1, 1, null, 1, 1], ['0-1|up', '3-4|up']],
    ['NaN ends a region', [1, NAN, 1], ['0-0|up', '2-2|up']],
    ['a region that is open at both ends of the range', [1, 1, 1], ['0-2|up']],
    ['a region that is open at the end', [0, 0, 1, 1], ['2-3|up']],
    ['a single row, as with a step as long as the range', [1], ['0-0|up']],
    ['infinity', [Infinity, -Infinity, 0.001], ['0-0|up', '2-2|up']],
  ])('%s', (_, values, wanted) => {
    expect(inShort(eventsOf([frameOf([['up', {}, values]])]))).toEqual(wanted);
  });

  it('of several series and frames are in the order of time', () => {
    const frames = [
      frameOf([
        ['a', {}, [0, 0, 1, 1]],
        ['b', {}, [1, 0, 0, 1]],
      ]),
      frameOf([['c', {}, [0, 1, 0, 0]]]),
      toDataFrame({ fields: [] }), // as of a query without series
    ];
    expect(inShort(eventsOf(frames))).toEqual(['0-0|b', '1-1|c', '2-3|a', '3-3|b']);
  });

  it('a step apart in time and not on the clock: an hour that comes twice is one region', () => {
    const times = [0, 1, 2, 3].map((hour) => START + hour * 3_600_000);
    const frame = toDataFrame({
      fields: [
        { name: 'time', type: FieldType.time, values: times, config: { interval: 3_600_000 } },
        { name: 'up', type: FieldType.number, values: [1, 1, 1, 0] },
      ],
    });
    expect(eventsOf([frame])).toMatchObject([{ time: times[0], timeEnd: times[2] }]);
  });
});

describe('title, text and tags', () => {
  const labels = { job: 'api', site: 'a,b', note: '<i>1 & 2</i>' };
  const values: Record<string, unknown> = {
    env: 'prod',
    all: ['x', 'y,z'],
    by: 'job',
    odd: String.raw`"a\\b" $env {{job}} &amp; <b>'c'</b>`,
  };
  /** As Grafana does, which also writes values with a format of their own. */
  const variables = (text: string, write: (value: unknown) => string) =>
    text.replace(/\$\{?(\w+)(:raw\})?/g, (_, name: string, raw?: string) =>
      raw ? String(values[name]) : write(values[name]),
    );
  it.each<[string, EventOptions, Partial<AnnotationEvent>]>([
    ['nothing is set', {}, { title: 'api up', text: '', tags: [] }],
    ['labels', { title: '{{job}} down', text: 'at {{ site }}' }, { title: 'api down', text: 'at a,b' }],
    ['the first label that is missing is the name', { title: '{{x}}:{{y}}' }, { title: 'api up:' }],
    ['values of labels are no HTML', { text: '<b>{{note}}</b>' }, { text: '<b>&lt;i&gt;1 &amp; 2&lt;/i&gt;</b>' }],
    ['tags', { tags: '{{job}}, maintenance,, {{x}}' }, { tags: ['api', 'maintenance'] }],
    ['a comma in a value makes no second tag', { tags: '{{site}}' }, { tags: ['a,b'] }],
    ['tags are no HTML', { tags: '{{note}}' }, { tags: ['<i>1 & 2</i>'] }],
    [
      'variables',
      { title: '$env {{job}}', text: 'of $all', tags: '$env, at-$all' },
      { title: 'prod api', text: 'of x,y,z', tags: ['prod', 'at-x', 'y,z'] },
    ],
    [
      'values of variables come out as they are',
      { title: '$odd', text: '<i>$odd</i> {{job}}', tags: '$odd, {{job}}' },
      {
        title: String.raw`&quot;a\\b&quot; $env {{job}} &amp;amp; &lt;b&gt;&#39;c&#39;&lt;/b&gt;`,
        text: String.raw`<i>&quot;a\\b&quot; $env {{job}} &amp;amp; &lt;b&gt;&#39;c&#39;&lt;/b&gt;</i> api`,
        tags: [String.raw`"a\\b" $env {{job}} &amp; <b>'c'</b>`, 'api'],
      },
    ],
    ['a variable can name a label', { title: '{{$by}}', tags: '{{$by}}' }, { title: 'api', tags: ['api'] }],
    ['a format of its own is taken as it is written', { title: '${by:raw}' }, { title: 'job' }],
  ])('%s', (_, options, wanted) => {
    const frame = frameOf([['up', labels, [1]]], { displayNameFromDS: 'api up' });
    expect(eventsOf([frame], options, variables)).toEqual([expect.objectContaining(wanted)]);
  });
});

describe('states', () => {
  const [IDLE, RUNNING, FAILED] = [11, 22, 33];
  const config: FieldConfig = {
    displayNameFromDS: 'pump',
    mappings: [
      {
        type: MappingType.ValueToText,
        options: { [IDLE]: { text: 'idle' }, [RUNNING]: { text: 'running' }, [FAILED]: { text: '<failed>' } },
      },
    ],
  };
  it.each<[string, Values, string[], string[]]>([
    ['no rows', [], [], []],
    ['no change', [IDLE, IDLE], [], ['0-1|pump|idle']],
    [
      'changes',
      [IDLE, RUNNING, RUNNING, FAILED],
      ['1-1|pump|idle → running', '3-3|pump|running → &lt;failed&gt;'],
      ['0-1|pump|idle', '1-3|pump|running', '3-3|pump|&lt;failed&gt;'],
    ],
    [
      'a gap ends a state, and what is the same after it has not changed',
      [IDLE, null, IDLE, NAN, RUNNING, null],
      ['4-4|pump|idle → running'],
      ['0-1|pump|idle', '2-3|pump|idle', '4-5|pump|running'],
    ],
    ['the first state is no change', [null, RUNNING], [], ['1-1|pump|running']],
    ['a number without a text is none', [IDLE, 44, IDLE], [], ['0-1|pump|idle', '2-2|pump|idle']],
  ])('%s', (_, values, changes, regions) => {
    const frame = frameOf([['pump_state', {}, values]], config);
    expect(inShort(eventsOf([frame]))).toEqual(changes);
    expect(inShort(eventsOf([frame], { regions: true }))).toEqual(regions);
  });

  it('have titles and tags, and the states as their text', () => {
    const frame = frameOf([['pump_state', { pump: 'p1' }, [IDLE, RUNNING]]], config);
    const options = { title: 'Pump {{pump}}', text: 'not used', tags: '{{pump}}' };
    expect(inShort(eventsOf([frame], options))).toEqual(['1-1|Pump p1|idle → running|p1']);
  });
});

describe('too many events', () => {
  const blinking = (rows: number) => Array.from({ length: rows }, (_, row) => Number(row % 2 === 0));

  it('are all shown up to the limit', () => {
    expect(eventsOf([frameOf([['up', {}, blinking(2 * MOST_EVENTS)]])])).toHaveLength(MOST_EVENTS);
  });

  it('are the newest of all series, and a region says how many are missing, and where', () => {
    const [a, b] = [blinking(1200), blinking(1200)]; // of each, 600 events
    const events = eventsOf([
      frameOf([
        ['a', {}, a],
        ['b', {}, b],
      ]),
    ]);
    expect(events).toHaveLength(MOST_EVENTS + 1);
    expect(inShort(events.slice(0, 1))[0]).toMatch(
      /^0-200\|200 older events are not shown\|An annotation shows its newest 1000/,
    );
    expect(events.slice(1).every(({ time }) => time! >= START + 200 * STEP)).toBe(true);
  });

  it('are those that end last, so that what goes on is shown however long ago it began', () => {
    const rows = 2 * MOST_EVENTS + 10;
    const events = eventsOf([
      frameOf([
        ['open', {}, Array.from({ length: rows }, () => 1)],
        ['up', {}, blinking(rows)],
      ]),
    ]);
    expect(inShort(events.slice(1, 3))).toEqual([`0-${rows - 1}|open`, '12-12|up']);
    expect(inShort(events.slice(0, 1))[0]).toMatch(/^0-12\|6 older events are not shown/);
    expect(events).toHaveLength(MOST_EVENTS + 1);
  });
});
