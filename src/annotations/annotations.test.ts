import {
  AnnotationQuery,
  DataQueryResponse,
  DataSourceInstanceSettings,
  dateTime,
  FieldType,
  LoadingState,
  toDataFrame,
} from '@grafana/data';
import { DataSourceWithBackend, setTemplateSrv, TemplateSrv } from '@grafana/runtime';
import { firstValueFrom, Observable, of, throwError } from 'rxjs';
import { DataSource } from '../datasource';
import type { Options, Query } from '../types';

const FROM = 1_700_000_000_000;
const HOUR = 3_600_000;

const inner = jest.spyOn(DataSourceWithBackend.prototype, 'query');
const event = toDataFrame({
  fields: [
    { name: 'time', type: FieldType.time, values: [FROM] },
    { name: 'up', type: FieldType.number, values: [1] },
  ],
});

const newDataSource = (jsonData: Options) =>
  new DataSource({ uid: 'uid', type: 'type', jsonData } as DataSourceInstanceSettings<Options>);

/** What Grafana does with an annotation: prepare its query, ask, and make events of the answer. */
async function run(datasource: DataSource, target?: Partial<Query>) {
  const annotation = { name: 'a', enable: true, target: target && { refId: 'x', ...target } } as AnnotationQuery<Query>;
  const support = datasource.annotations!;
  const query = support.prepareQuery!(annotation);
  if (!query) {
    return undefined;
  }
  const [from, to] = [dateTime(FROM), dateTime(FROM + HOUR)];
  const answer = await firstValueFrom(
    datasource.query({
      requestId: 'AQ100',
      app: 'dashboard',
      interval: '20s',
      intervalMs: 20_000,
      maxDataPoints: 1000,
      timezone: 'browser',
      startTime: FROM,
      scopedVars: { __annotation: { text: 'a', value: annotation } },
      targets: [{ ...query, refId: 'Anno' }],
      range: { from, to, raw: { from: 'now-1h', to: 'now' } },
    }),
  );
  return { answer, events: await firstValueFrom(support.processEvents!(annotation, answer.data)) };
}

beforeEach(() => {
  setTemplateSrv({ replace: (text = '') => text.replace('$step', '5m').replace('$site', 'north') } as TemplateSrv);
  inner.mockReset().mockReturnValue(of({ data: [event] }));
});

describe.each<[string, Options, Partial<Query>]>([
  ['signal', { source: 'signal' }, { shape: 'square' }],
  ['recorder', { source: 'recorder' }, { expr: 'alarm > 0' }],
  ['prometheus', { source: 'prometheus' }, { expr: 'ALERTS' }],
  ['metrics API', { source: 'metrics-api' }, { metricName: 'alarm' }],
])('%s', (_, options, query) => {
  const datasource = newDataSource(options);

  it('is asked once and never live, though the range ends at now', async () => {
    const { events } = (await run(datasource, { ...query, withStreaming: true, event: { title: 'at $site' } }))!;
    expect(events).toMatchObject([{ time: FROM, timeEnd: FROM, title: 'at north' }]);
    const [request] = inner.mock.calls[0]!;
    expect(request.targets).toEqual([expect.objectContaining({ ...query, withStreaming: false })]);
    expect(request.targets[0]).not.toHaveProperty('live');
    expect(request.targets[0]).not.toHaveProperty('event');
    expect(inner).toHaveBeenCalledTimes(1);
  });
});

const recorder = newDataSource({ source: 'recorder' });

describe('the step', () => {
  it.each([
    ['', 20_000],
    ['1m', 60_000],
    ['1s', 1000],
    ['$step', 300_000],
    ['1d', HOUR], // no longer than the range
    ['10ms', 73], // 50,000 rows, with one more at each end
  ])('%s', async (step, wanted) => {
    await run(recorder, { expr: 'up', event: { step } });
    expect(inner.mock.calls[0]![0]).toMatchObject({ intervalMs: wanted });
  });

  it.each([
    [1000, 3608],
    [1, HOUR],
  ])('is so long that there are no more than %i rows', async (maxRows, wanted) => {
    await run(newDataSource({ source: 'recorder', maxRows }), { expr: 'up', event: { step: '1s' } });
    expect(inner.mock.calls[0]![0]).toMatchObject({ intervalMs: wanted });
  });
});

it.each([undefined, {}, { expr: '  ' }])('nothing is asked with %j', async (query) => {
  expect(await run(recorder, query)).toBeUndefined();
  expect(inner).not.toHaveBeenCalled();
});

it('has the format of texts, but no table of now', async () => {
  await run(recorder, { expr: 'pump_state', format: 'states' });
  await run(recorder, { expr: 'pump_state', format: 'newest' });
  expect(inner.mock.calls.map(([request]) => (request.targets[0] as Query).format)).toEqual(['states', undefined]);
});

it('has no format of texts where there are none', async () => {
  await run(newDataSource({ source: 'signal' }), { shape: 'square', format: 'states' });
  expect(inner.mock.calls[0]![0].targets[0]).toMatchObject({ format: undefined });
});

describe('what fails is an error, and an event that shows it on the dashboard', () => {
  const message = 'the query has <20000> rows';
  const shown = 'the query has &lt;20000&gt; rows';
  it.each<[string, Observable<DataQueryResponse>, Partial<Query>, string]>([
    ['the query', of({ data: [], state: LoadingState.Error, error: { message } }), {}, shown],
    ['one of several errors', of({ data: [], errors: [{ message }] }), {}, shown],
    ['an exception', throwError(() => new Error(message)), {}, shown],
    ['an answer without frames', of({ data: [] }), {}, 'Grafana has not answered.'],
    [
      'the step',
      of({ data: [event] }),
      { event: { step: 'often' } },
      'The step “often” of the annotation is no duration',
    ],
  ])('%s', async (_, answer, query, text) => {
    inner.mockReturnValue(answer);
    const { events } = (await run(recorder, { expr: 'up', ...query }))!;
    expect(events).toEqual([
      expect.objectContaining({
        time: FROM + HOUR,
        title: 'Events could not be read',
        text: expect.stringContaining(text),
      }),
    ]);
  });
});
