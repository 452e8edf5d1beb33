import {
  CoreApp,
  DataFrame,
  DataQueryRequest,
  DataQueryResponse,
  DataSourceInstanceSettings,
  DataSourceRef,
  dateTime,
  LoadingState,
  MetricFindValue,
  ScopedVars,
  StreamingDataFrame,
  TimeRange,
} from '@grafana/data';
import {
  type HealthCheckResult,
  HealthStatus,
  config,
  DataSourceSrv,
  DataSourceWithBackend,
  setDataSourceSrv,
  setTemplateSrv,
  TemplateSrv,
} from '@grafana/runtime';
import { readFileSync } from 'fs';
import path from 'path';
import { firstValueFrom, NEVER, Observable, of, Subject } from 'rxjs';
import { DataSource } from './datasource';
import { Nonces, nonces } from './nonces';
import { Server } from './testing/live';
import { Turns, turns } from './turns';
import { Options, Query } from './types';

const live = { getStream: jest.fn() };

jest.mock('@grafana/runtime', () => ({
  ...jest.requireActual('@grafana/runtime'),
  getGrafanaLiveSrv: () => live,
}));

const NOW = 1_700_000_000_000;
/** The browser's. */
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const REF: DataSourceRef = { uid: 'uid', type: 'continuum-live-datasource' };

type Origin = Parameters<NonNullable<DataSource['importQueries']>>[1];
type Request = DataQueryRequest<Query>;

const inner = jest.spyOn(DataSourceWithBackend.prototype, 'query');
/** The requests that reached Grafana's DataSourceWithBackend. */
const sent = () => inner.mock.calls.map(([request]) => request as Request);

const newDataSource = (jsonData: Options = { source: 'signal' }) =>
  new DataSource({ uid: 'uid', type: REF.type, jsonData } as DataSourceInstanceSettings<Options>);

function relative(from: string, to: string): TimeRange {
  const old = { from: dateTime(NOW - 900_000), to: dateTime(NOW - 600_000) }; // as the panel editor hands it over
  return { ...old, raw: { from, to } };
}

function request(change: Partial<Request> = {}): Request {
  const range = change.range ?? relative('now-5m', 'now');
  return {
    requestId: 'Q100',
    app: CoreApp.Dashboard,
    interval: '1s',
    intervalMs: 1000,
    timezone: 'browser',
    startTime: NOW,
    scopedVars: {},
    targets: [{ refId: 'A', datasource: REF }],
    rangeRaw: range.raw,
    ...change,
    range,
  };
}

/** The scoped variables of a panel whose dashboard has these filters, each for a data source. */
function filteredBy(filters: Record<string, unknown>, variableDependency?: object) {
  const variables = Object.entries(filters).map(([uid, set]) => ({
    state: { type: 'adhoc', name: `of ${uid}`, applyMode: 'auto', datasource: { uid }, filters: set },
  }));
  const runner = { variableDependency, parent: { state: { $variables: { state: { variables } } } } };
  return { __sceneObject: { text: '', value: { valueOf: () => runner } } };
}

/** A panel in a scene, as its query's scoped variables name it. */
function sceneWith(extraQueries: unknown[]) {
  const timeRange = { getExtraQueries: () => extraQueries };
  const panel = { forEachChild: (visit: (child: object) => void) => [{}, timeRange].forEach(visit) };
  const transformer = { parent: panel, forEachChild: () => undefined };
  const runner = { parent: transformer };
  return { __sceneObject: { text: '', value: { valueOf: () => runner } } };
}

beforeEach(() => {
  jest.useFakeTimers({ now: NOW });
  Object.assign(nonces, new Nonces()); // a tab of its own
  Object.assign(turns, new Turns());
  inner.mockReset().mockReturnValue(NEVER);
  live.getStream.mockReset().mockReturnValue(NEVER);
  config.liveEnabled = true;
  config.publicDashboardAccessToken = undefined;
});

afterEach(() => {
  jest.useRealTimers();
});

describe('whether a stream is asked for', () => {
  const absolute = { from: dateTime(NOW - 300_000), to: dateTime(NOW) };
  it.each<[string, boolean, Partial<Request>, (() => void)?]>([
    ['the range ends at now', true, {}],
    ['the range is today so far', true, { range: relative('now/d', 'now') }],
    ['Explore asks', true, { app: CoreApp.Explore, requestId: 'explore_left' }],
    ['the range is absolute', false, { range: { ...absolute, raw: absolute } }],
    ['the range ends earlier', false, { range: relative('now-2h', 'now-1h') }],
    ['the range ends with the day', false, { range: relative('now/d', 'now/d') }],
    [
      'it is the other half of a time comparison',
      false,
      { range: { ...absolute, raw: absolute }, rangeRaw: { from: 'now-5m', to: 'now' } },
    ],
    ['the panel is compared with another time', false, { scopedVars: sceneWith([{}]) }],
    ['the panel is in a scene', true, { scopedVars: sceneWith([]) }],
    ['the panel is mixed', false, { requestId: 'mixed-0-Q100' }],
    [
      'there is an expression',
      false,
      { targets: [{ refId: 'A' }, { refId: 'B', datasource: { type: '__expr__', uid: '__expr__' } }] },
    ],
    ['the toggle is off', false, { targets: [{ refId: 'A', withStreaming: false }] }],
    ['the toggle is on', true, { targets: [{ refId: 'A', withStreaming: true }] }],
    ['Live is off', false, {}, () => (config.liveEnabled = false)],
    ['the dashboard is public', false, {}, () => (config.publicDashboardAccessToken = 'token')],
  ])('when %s: %s', (_, wanted, change, prepare) => {
    prepare?.();
    const asked = request(change);
    newDataSource().query(asked).subscribe();
    if (wanted) {
      expect(sent()).toHaveLength(1);
      expect(sent()[0]!.targets[0]).toMatchObject({ live: true, nonce: 0 });
      return;
    }
    expect(sent()).toEqual([{ ...asked, targets: asked.targets.map((target) => ({ timezone: ZONE, ...target })) }]);
  });
});

describe('a live request', () => {
  it.each([
    ['live', true],
    ['plain', false],
  ])('sends none of the fields of the wire that a dashboard has saved: %s', (_, live) => {
    const saved = { refId: 'A', datasource: REF, legend: 'x', live: true, nonce: 5, resync: 'hole' };
    const range = live ? relative('now-5m', 'now') : relative('now-5m', 'now-1m');
    newDataSource()
      .query(request({ targets: [saved], range }))
      .subscribe()
      .unsubscribe();
    expect(sent()[0]!.targets).toEqual([
      {
        refId: 'A',
        datasource: REF,
        legend: 'x',
        timezone: ZONE,
        ...(live && { live: true, nonce: 0, resync: undefined }),
      },
    ]);
  });

  it('makes up no id for a request that has none', () => {
    newDataSource()
      .query({ ...request(), requestId: undefined } as unknown as Request)
      .subscribe()
      .unsubscribe();
    expect(sent()[0]!.requestId).toBeUndefined();
  });

  it('takes the range anew', () => {
    newDataSource().query(request()).subscribe();
    const { range, intervalMs } = sent()[0]!;
    expect([range.from.valueOf(), range.to.valueOf()]).toEqual([NOW - 300_000, NOW]);
    expect(range.raw).toEqual({ from: 'now-5m', to: 'now' });
    expect(intervalMs).toBe(1000);
  });

  it('has one inner query per target, under ids of their own', () => {
    const targets = [{ refId: 'A' }, { refId: 'B', withStreaming: false }, { refId: 'C', withStreaming: true }];
    newDataSource().query(request({ targets })).subscribe();
    expect(sent().map(({ requestId, targets }) => [requestId, targets])).toEqual([
      ['Q100-A', [{ refId: 'A', timezone: ZONE, live: true, nonce: 0 }]],
      ['Q100-B', [{ refId: 'B', timezone: ZONE, withStreaming: false }]],
      ['Q100-C', [{ refId: 'C', timezone: ZONE, withStreaming: true, live: true, nonce: 0 }]],
    ]);
  });

  /** The answers of a panel whose targets A, B, … are answered with these observables. */
  function answered(...answers: Array<Observable<DataQueryResponse>>) {
    answers.forEach((answer) => inner.mockReturnValueOnce(answer));
    const out: DataQueryResponse[] = [];
    const complete = jest.fn();
    const targets = answers.map((_, i) => ({ refId: 'ABC'[i]!, withStreaming: i < 2 }));
    newDataSource()
      .query(request({ targets, range: relative('now-5s', 'now') }))
      .subscribe({ next: (answer) => out.push(answer), complete });
    jest.advanceTimersByTime(100); // for packets that come close together
    return { out, complete };
  }

  const server = new Server(1000);
  const streamed = () =>
    of({
      state: LoadingState.Streaming,
      data: [StreamingDataFrame.fromDataFrameJSON(server.history(5000, 0), { maxLength: 100 })],
    });
  const plain = (refId: string) => of({ state: LoadingState.Done, data: [{ refId, fields: [], length: 0 }] });
  const failed = (refId: string) =>
    of({ state: LoadingState.Error, data: [], error: { refId, message: 'lowerLimit is wrong' } });
  const refIds = (answer?: DataQueryResponse) => (answer?.data as DataFrame[]).map(({ refId }) => refId);
  const endless = (answer: Observable<DataQueryResponse>) =>
    new Observable<DataQueryResponse>((out) => answer.subscribe((value) => out.next(value)));

  it('shows a table of now where that is the format, row by row in place', () => {
    jest.spyOn(Math, 'random').mockReturnValue(0);
    setTemplateSrv({ replace: (text = '') => text.replace('$what', 'Heat') } as TemplateSrv);
    inner.mockReturnValue(endless(streamed()));
    const out: DataQueryResponse[] = [];
    const target: Query = { refId: 'A', format: 'newest', legend: '$what' };
    newDataSource()
      .query(request({ targets: [target], range: relative('now-5s', 'now') }))
      .subscribe((answer) => out.push(answer));
    jest.advanceTimersByTime(100);
    expect(sent()[0]!.targets).toMatchObject([{ format: 'newest', live: true }]);
    const [table] = out.at(-1)!.data as DataFrame[];
    expect(out.at(-1)).toMatchObject({ state: LoadingState.Streaming, key: 'all' });
    expect(table).toMatchObject({ refId: 'A', length: 1, meta: { preferredVisualisationType: 'table' } });
    expect(table!.fields.map(({ name, config }) => config.displayNameFromDS ?? name)).toEqual(['Time', 'name', 'Heat']);
    expect(table!.fields[0]!.values).toEqual([NOW]);
  });

  it('has one answer in the order of the targets, under one key', () => {
    const late = new Subject<DataQueryResponse>();
    const { out } = answered(late, endless(streamed()), plain('C'));
    expect(out).toEqual([]);
    streamed().subscribe((answer) => late.next(answer));
    jest.advanceTimersByTime(100);
    expect(out.map(({ key, state }) => [key, state])).toEqual([['all', LoadingState.Streaming]]);
    expect(refIds(out[0])).toEqual(['A', 'B', 'C']);
    for (let i = 0; i < 5; i++) {
      streamed().subscribe((answer) => late.next(answer));
    }
    jest.advanceTimersByTime(100);
    expect(out.map(({ key }) => key)).toEqual(['all', 'all']);
    expect(refIds(out[1])).toEqual(['A', 'B', 'C']);
  });

  it('is shown together with those of other panels, ten times a second at most', () => {
    const sources = Array.from({ length: 6 }, () => new Subject<DataQueryResponse>());
    const shown: number[][] = [[], []];
    sources.forEach((source) => inner.mockReturnValueOnce(source));
    for (const times of shown) {
      const targets = ['A', 'B', 'C'].map((refId) => ({ refId, datasource: REF }));
      newDataSource()
        .query(request({ targets }))
        .subscribe(() => times.push(Date.now() - NOW));
    }
    for (let ms = 0; ms < 300; ms += 3) {
      const source = sources[(ms / 3) % 6]!;
      streamed().subscribe((answer) => source.next(answer));
      jest.advanceTimersByTime(3);
    }
    expect(shown).toEqual([
      [36, 136, 236],
      [36, 136, 236],
    ]);
  });

  it('asks afresh as soon as Grafana refuses the subscription', () => {
    jest.spyOn(Math, 'random').mockReturnValue(0);
    const status = new Subject<unknown>();
    live.getStream.mockReturnValue(status);
    const { out } = answered(endless(streamed()), endless(streamed()));
    inner.mockReturnValue(NEVER);
    expect(live.getStream.mock.calls[0]).toMatchObject([{ scope: 'ds', stream: 'uid', data: '{}' }]);
    status.next({ type: 'status', state: 'connected' });
    status.next({ type: 'message', message: {} });
    jest.advanceTimersByTime(1);
    expect(sent().length).toBe(2);
    status.next({ type: 'status', state: 'disconnected' });
    jest.advanceTimersByTime(100);
    const asked = sent().map(({ targets }) => targets[0] as { refId: string; nonce: number; resync?: string });
    expect(asked.slice(2)).toEqual([
      expect.objectContaining({ refId: 'A', resync: 'refused', nonce: asked[0]!.nonce + 1 }),
      expect.objectContaining({ refId: 'B', resync: 'refused', nonce: asked[0]!.nonce + 1 }),
    ]);
    expect(out.at(-1)?.state).toBe(LoadingState.Streaming);
    expect(refIds(out.at(-1))).toEqual(['A', 'B']);
  });

  it('is done when no stream was to be had', () => {
    const { out, complete } = answered(plain('A'), plain('B'), plain('C'));
    expect(out.at(-1)).toMatchObject({ state: LoadingState.Done, error: undefined });
    expect(complete).toHaveBeenCalled();
  });

  it('is an error when nothing streams', () => {
    const { out } = answered(failed('A'), plain('B'));
    expect(out.at(-1)).toMatchObject({
      state: LoadingState.Error,
      error: { refId: 'A', message: 'lowerLimit is wrong' },
      errors: [{ refId: 'A' }],
    });
    expect(refIds(out.at(-1))).toEqual(['B']);
  });

  it('says an error in a notice while something streams', () => {
    const { out } = answered(failed('A'), endless(streamed()));
    const [frame] = out.at(-1)!.data as DataFrame[];
    expect(out.at(-1)).toMatchObject({ state: LoadingState.Streaming });
    expect(out.at(-1)?.error).toBeUndefined();
    expect(frame?.meta?.notices).toEqual([{ severity: 'warning', text: 'A: lowerLimit is wrong' }]);
  });
});

describe('a query that another data source answers', () => {
  const ref = { uid: 'other', type: REF.type };
  const other = new DataSource({ ...ref, jsonData: { source: 'signal' } } as DataSourceInstanceSettings<Options>);
  const answered = async (uid: string, change: Partial<Request> = {}) => {
    jest.useRealTimers();
    setTemplateSrv({ replace: (text = '') => text.replace('$ds', 'other') } as TemplateSrv);
    const known: Record<string, unknown> = { other, loki: { name: 'Loki' } };
    const get = (name: string) => (known[name] ? Promise.resolve(known[name]) : Promise.reject(new Error('?')));
    setDataSourceSrv({ get } as unknown as DataSourceSrv);
    inner.mockImplementation(({ targets }) => of({ data: [{ refId: targets[0]!.refId, fields: [], length: 0 }] }));
    const targets = [
      { refId: 'A', datasource: REF },
      { refId: 'B', datasource: REF, from: { uid } }, // Grafana writes that of the panel into every query
    ];
    const range = relative('now-5m', 'now-1m');
    return firstValueFrom(newDataSource().query(request({ range, targets, ...change })));
  };

  it.each(['other', '$ds'])('is handed to it, under %s, and its answer keeps its place', async (uid) => {
    const { data, error } = await answered(uid);
    expect(error).toBeUndefined();
    expect((data as DataFrame[]).map(({ refId }) => refId)).toEqual(['A', 'B']);
    expect(inner.mock.contexts.at(-1)).toBe(other);
    expect(sent().map(({ targets }) => targets)).toEqual([
      [{ refId: 'A', timezone: ZONE, datasource: REF }],
      [{ refId: 'B', timezone: ZONE, datasource: ref }],
    ]);
  });

  it.each([
    ['gone', 'There is no data source “gone”'],
    ['loki', '“Loki” is no Continuum data source'],
  ])('is an error under %s', async (uid, message) => {
    const { data, errors } = await answered(uid);
    expect(errors).toMatchObject([{ refId: 'B', message: expect.stringContaining(message) as string }]);
    expect((data as DataFrame[]).map(({ refId }) => refId)).toEqual(['A']);
  });

  const [ofPanel, ofOther, unfinished] = ['a', 'b', ''].map((value) => ({ key: 'host', operator: '=', value }));

  it.each(['other', '$ds'])('has the filters of that one, under %s', async (uid) => {
    const scopedVars = filteredBy({ uid: [ofPanel], [uid]: [ofOther, unfinished] });
    await answered('other', { scopedVars, filters: [ofPanel!] });
    expect(sent().map(({ filters }) => filters)).toEqual([[ofPanel], [ofOther]]);
  });

  it('is run again when the filters of that one change', async () => {
    let names = new Set(['ds']);
    const setVariableNames = jest.fn((changed: string[]) => (names = new Set(changed)));
    const scopedVars = filteredBy({ uid: [ofPanel], $ds: [ofOther] }, { getNames: () => names, setVariableNames });
    await answered('other', { scopedVars, filters: [ofPanel!] });
    await answered('other', { scopedVars, filters: [ofPanel!] });
    expect(setVariableNames.mock.calls).toEqual([[['ds', 'of $ds']]]);
  });

  it('may have the name of another query: none cancels the request of another', async () => {
    const targets = ['other', undefined, '$ds'].map((uid) => ({ refId: 'A', ...(uid && { from: { uid } }) }));
    await answered('other', { targets });
    expect(new Set(sent().map(({ requestId }) => requestId)).size).toBe(3);
  });

  it('has no filters of the panel’s data source', async () => {
    await answered('other', { scopedVars: filteredBy({ uid: [ofPanel] }), filters: [ofPanel!] });
    expect(sent().map(({ filters }) => filters)).toEqual([[ofPanel], []]);
  });

  it('is an error if its filters cannot be read', async () => {
    const { errors } = await answered('other', { filters: [ofPanel!] });
    expect(errors).toMatchObject([{ refId: 'B', message: expect.stringContaining('cannot be read here') as string }]);
  });

  describe('in Explore', () => {
    const settings: Record<string, object> = {
      beside: { uid: 'beside', type: REF.type, jsonData: { source: 'metrics-api' } },
      loki: { uid: 'loki', type: 'loki', jsonData: {} },
    };
    const explored = (uid: string) => {
      const values: Record<string, string> = { ds: 'beside', room: 'hall' };
      setTemplateSrv({
        replace: (text: string) => text.replace(/\$(\w+)/g, (all, name: string) => values[name] ?? all),
      } as TemplateSrv);
      setDataSourceSrv({ getInstanceSettings: (name: string) => settings[name] } as unknown as DataSourceSrv);
      const query: Query = { refId: 'A', datasource: REF, metricName: 't_$room', legend: '$room', from: { uid } };
      return newDataSource().interpolateVariablesInQueries([query], {})[0]!;
    };

    it.each(['beside', '$ds'])('has values in place of variables, also in %s', (uid) => {
      expect(explored(uid)).toMatchObject({ metricName: 't_hall', legend: 'hall', from: { uid: 'beside' } });
    });

    it.each(['gone', 'loki'])('keeps the name %s, so that Explore says what is wrong', (uid) => {
      expect(explored(uid)).toMatchObject({ metricName: 't_$room', from: { uid } });
    });
  });
});

describe('streamOptionsProvider', () => {
  const frame = {
    meta: { channel: 'ds/uid/stream/1000/60000/d/1', custom: { data: '{"query":1}', step: 1000, window: 60_000 } },
  } as unknown as DataFrame;

  it('opens the channel with its data, and leaves it to Grafana', () => {
    const left = jest.fn();
    live.getStream.mockReturnValue(new Observable(() => left));
    const options = newDataSource().streamOptionsProvider(request(), frame);
    expect(live.getStream.mock.calls).toEqual([
      [{ scope: 'ds', stream: 'uid', namespace: 'uid', path: 'stream/1000/60000/d/1', data: '{"query":1}' }],
    ]);
    expect(left).toHaveBeenCalled();
    expect(options).toEqual({ action: 'append', maxLength: 10_240, maxDelta: 90_000 });
  });

  it('survives an error of Grafana Live', () => {
    const log = jest.spyOn(console, 'error').mockImplementation();
    live.getStream.mockImplementation(() => {
      throw new Error('no Live');
    });
    expect(newDataSource().streamOptionsProvider(request(), frame)).toMatchObject({ maxLength: 10_240 });
    expect(newDataSource().streamOptionsProvider(request(), { fields: [], length: 0 })).toMatchObject({
      action: 'append',
    });
    expect(log).toHaveBeenCalled();
    log.mockRestore();
  });
});

describe('the time zone', () => {
  const zonesOf = (change: Partial<Request>) => {
    newDataSource()
      .query(request({ range: relative('now-5m', 'now-1m'), ...change }))
      .subscribe();
    return sent()[0]!.targets.map(({ timezone }) => timezone);
  };

  it.each([
    ['browser', ZONE],
    ['', ZONE],
    ['utc', 'UTC'],
    ['Asia/Kolkata', 'Asia/Kolkata'],
  ])('of a request in “%s” is %s', (timezone, wanted) => {
    expect(zonesOf({ timezone })).toEqual([wanted]);
  });

  it('is a query’s own, if it has one', () => {
    const targets = [{ refId: 'A', timezone: 'Europe/Berlin' }, { refId: 'B' }];
    expect(zonesOf({ timezone: 'utc', targets })).toEqual(['Europe/Berlin', 'UTC']);
  });

  it('is the dashboard’s for what expressions ask', () => {
    setTemplateSrv({ replace: (text = '') => text } as TemplateSrv);
    const $timeRange = { state: {}, getTimeZone: () => 'utc' };
    const runner = { state: {}, parent: { state: { $timeRange } } };
    const scopedVars = { __sceneObject: { text: '', value: { valueOf: () => runner } } };
    const interpolated = (query: Query, vars: ScopedVars) =>
      newDataSource().interpolateVariablesInQueries([query], vars)[0]!.timezone;
    expect(interpolated({ refId: 'A' }, scopedVars)).toBe('UTC');
    expect(interpolated({ refId: 'A', timezone: 'Asia/Kolkata' }, scopedVars)).toBe('Asia/Kolkata');
    expect(interpolated({ refId: 'A' }, {})).toBeUndefined();
  });
});

describe('a query', () => {
  const values: Record<string, string> = { low: '-5', high: '1e3', tick: '250', what: 'sine', host: 'a', odd: '{1,2}' };

  beforeEach(() => {
    setTemplateSrv({
      replace: (text?: string) => text?.replace(/\$\{?(\w+)\}?/g, (_, name: string) => values[name] ?? ''),
    } as TemplateSrv);
  });

  it.each<[string, Partial<Query>, Partial<Query>]>([
    [
      'has its variables replaced in every field',
      { shape: '$what', lowerLimit: '$low', upperLimit: '${high}', tickInterval: '$tick', legend: '$host {{shape}}' },
      { shape: 'sine', lowerLimit: -5, upperLimit: 1000, tickInterval: 250, legend: 'a {{shape}}' },
    ],
    ['keeps numbers', { lowerLimit: 0, upperLimit: 5 }, { lowerLimit: 0, upperLimit: 5 }],
    [
      'keeps what becomes no number',
      { upperLimit: '$odd', lowerLimit: '$none' },
      { upperLimit: '{1,2}', lowerLimit: '' },
    ],
    [
      'gets defaults for what an old one lacks',
      {},
      { withStreaming: true, shape: 'walk', lowerLimit: 0, upperLimit: 100, tickInterval: 1000 },
    ],
    ['keeps what only the wire knows', { nonce: 3 } as Partial<Query>, { nonce: 3 } as Partial<Query>],
  ])('%s', (_, query, wanted) => {
    expect(newDataSource().applyTemplateVariables({ refId: 'A', ...query }, {})).toMatchObject(wanted);
  });

  it('of another source is an error, and does not show a line that nobody asked for', () => {
    const query = { refId: 'A', expr: 'up' };
    expect(newDataSource().filterQuery(query)).toBe(true);
    expect(() => newDataSource().applyTemplateVariables(query, {})).toThrow('made for another source');
  });

  it('is not run while it is hidden', () => {
    expect(newDataSource().filterQuery({ refId: 'A', hide: true })).toBe(false);
    expect(newDataSource().filterQuery({ refId: 'A' })).toBe(true);
  });

  it('has a text and a default', () => {
    expect(newDataSource().getQueryDisplayText({ refId: 'A', upperLimit: '$high' })).toBe(
      'walk from 0 to $high every 1000 ms',
    );
    expect(newDataSource().getDefaultQuery()).toMatchObject({ withStreaming: true, shape: 'walk' });
  });
});

describe('a data source that is asked in PromQL', () => {
  const machine = () => newDataSource({}); // the recorder is the default

  it('begins with a query of this machine if only that is recorded, else with none', () => {
    const starter = { withStreaming: true, expr: expect.stringContaining('node_cpu_seconds_total') as string };
    expect(machine().getDefaultQuery()).toEqual(starter);
    for (const settings of [{ recorder: { noHost: true } }, { source: 'prometheus' } as const]) {
      expect(newDataSource(settings).getDefaultQuery()).toEqual({ withStreaming: true, expr: '' });
    }
    expect(machine().filterQuery({ refId: 'A', expr: ' ' })).toBe(false);
    expect(machine().filterQuery({ refId: 'A', expr: 'up' })).toBe(true);
    expect(machine().filterQuery({ refId: 'A', expr: 'up', hide: true })).toBe(false);
    expect(machine().getQueryDisplayText({ refId: 'A', expr: 'up' })).toBe('up');
  });

  it('replaces variables, several values as a regular expression, and leaves macros to the back end', () => {
    const values: Record<string, string | string[]> = { one: 'a"b', many: ['x.y', 'z'] };
    setTemplateSrv({
      replace: (text: string, vars: ScopedVars, format: (value: unknown, variable: object) => string) =>
        text.replace(/\$(\w+)/g, (_, name: string) =>
          format(vars[name]?.value ?? values[name], { multi: Array.isArray(values[name]) }),
        ),
    } as unknown as TemplateSrv);
    const query = { refId: 'A', expr: 'rate(up{a="$one",b=~"$many"}[$__rate_interval])' };
    expect(machine().applyTemplateVariables(query, {})).toMatchObject({
      expr: String.raw`rate(up{a="a\"b",b=~"(x\\.y|z)"}[$__rate_interval])`,
    });
  });

  it('adds the dashboard’s filters to every selector, once variables have their values', async () => {
    setTemplateSrv({ replace: (text: string) => text.replace('$metric', 'up') } as unknown as TemplateSrv);
    const query = { refId: 'A', expr: 'rate($metric[$__rate_interval])' };
    const filters = [{ key: 'host', operator: '=', value: 'a' }];
    jest.useRealTimers();
    inner.mockReturnValue(of({ data: [] }));
    const range = relative('now-5m', 'now-1m');
    await firstValueFrom(machine().query({ ...request({ range, targets: [query] }), filters }));
    expect(sent()).toHaveLength(1); // once the parser that adds them is loaded
    expect(machine().applyTemplateVariables(query, {}, filters)).toMatchObject({
      expr: 'rate(up{host="a"}[$__rate_interval])',
    });
  });

  it('offers filters, variables and the import of queries, which the signal does not', () => {
    const offered = (source: DataSource) =>
      ['getTagKeys', 'getTagValues', 'variables', 'importQueries'].map((name) => Boolean(Reflect.get(source, name)));
    expect(offered(machine())).toEqual([true, true, true, true]);
    expect(offered(newDataSource({ source: 'prometheus' }))).toEqual([true, true, true, true]);
    expect(offered(newDataSource())).toEqual([false, false, false, false]);
  });

  it('knows the keys and values that filters can have beside the other filters', async () => {
    setTemplateSrv({ replace: (text: string) => text } as unknown as TemplateSrv);
    const source = machine();
    const ask = jest.spyOn(source, 'getResource').mockResolvedValue(['a', 'b']);
    const filters = [
      { key: 'host', operator: '=', value: 'a' },
      { key: 'job', operator: '=|', value: 'x', values: ['x', 'y'] },
    ];
    expect(await source.getTagKeys?.({ filters })).toEqual([{ text: 'a' }, { text: 'b' }]);
    expect(ask.mock.lastCall?.slice(0, 2)).toEqual(['labels', { limit: 10_000, match: '{host="a", job=~"x|y"}' }]);
    await source.getTagValues?.({ key: 'host', filters });
    expect(ask.mock.lastCall?.slice(0, 2)).toEqual(['labels/host/values', { limit: 9_999, match: '{job=~"x|y"}' }]);
  });

  it('says of keys and values for filters that there are more', async () => {
    setTemplateSrv({ replace: (text: string) => text } as unknown as TemplateSrv);
    const source = machine();
    const ask = jest.spyOn(source, 'getResource');
    const groups = async () => {
      const lists = [
        await source.getTagKeys?.({ filters: [] }),
        await source.getTagValues?.({ key: 'a', filters: [] }),
      ];
      return lists.map((list) => new Set((list as MetricFindValue[]).map(({ group }) => group)));
    };
    ask.mockResolvedValue(Array.from({ length: 9_998 }, String));
    expect(await groups()).toEqual([new Set([undefined]), new Set([undefined])]);
    ask.mockResolvedValue(Array.from({ length: 10_000 }, String).slice(0, 9_999));
    const more = new Set(['The first 9,999. Others can be typed in full.']);
    expect(await groups()).toEqual([more, more]);
  });

  it('passes on the details of a test', async () => {
    const source = machine();
    const check = jest.spyOn(source, 'callHealthCheck');
    const details = { verboseMessage: 'host: 79.0 samples/s.' } as unknown as HealthCheckResult['details'];
    check.mockResolvedValue({ status: HealthStatus.OK, message: 'well', details });
    expect(await source.testDatasource()).toEqual({ status: 'success', message: 'well', details });
    check.mockResolvedValue({ status: HealthStatus.Error, message: 'plant: no connection', details });
    await expect(source.testDatasource()).rejects.toMatchObject({
      message: 'plant: no connection',
      error: { message: 'plant: no connection', details },
    });
  });

  it('takes over the queries of a Prometheus data source, and of no other', async () => {
    const queries = [
      { refId: 'A', expr: 'up', legendFormat: '{{job}}', range: true },
      { refId: 'B', expr: 'down', legendFormat: '__auto', hide: true },
    ];
    const from = (type: string) => machine().importQueries?.(queries, { type } as unknown as Origin);
    expect(await from('prometheus')).toEqual([
      { refId: 'A', expr: 'up', legend: '{{job}}', withStreaming: true },
      { refId: 'B', expr: 'down', hide: true, withStreaming: true },
    ]);
    expect(await from('loki')).toEqual([]);
  });
});

describe('a data source that asks a metrics API', () => {
  const api = () => newDataSource({ source: 'metrics-api' });

  it('has no query until a metric is named', () => {
    expect(api().getDefaultQuery()).toEqual({ withStreaming: true, metricName: '' });
    expect(api().filterQuery({ refId: 'A', metricName: ' ' })).toBe(false);
    expect(api().filterQuery({ refId: 'A', metricName: 'm' })).toBe(true);
    expect(api().filterQuery({ refId: 'A', metricName: 'm', hide: true })).toBe(false);
    expect(api().getQueryDisplayText({ refId: 'A', metricName: 'm', aggregation: 'avg' })).toBe('avg of m');
  });

  it('replaces variables in every field, and makes a number of the step', () => {
    const values: Record<string, string> = { room: 'hall', how: 'max', step: '250' };
    setTemplateSrv({
      replace: (text: string) => text.replace(/\$(\w+)/g, (all, name: string) => values[name] ?? all),
    } as unknown as TemplateSrv);
    const query = {
      refId: 'A',
      metricName: 'temperature_$room',
      queryText: 'room=$room',
      aggregation: '$how',
      minStep: '$step',
      legend: '$room {{site}}',
    };
    expect(api().applyTemplateVariables(query, {})).toEqual({
      refId: 'A',
      metricName: 'temperature_hall',
      queryText: 'room=hall',
      aggregation: 'max',
      minStep: 250,
      legend: 'hall {{site}}',
    });
    expect(api().applyTemplateVariables({ refId: 'A', metricName: 'm', minStep: '$unknown' }, {})).toEqual({
      refId: 'A',
      metricName: 'm',
      aggregation: 'last',
      minStep: '$unknown',
    });
  });
});

describe('how long an answer may take', () => {
  const file = path.join(__dirname, '../pkg/plugin/testdata/patience.json');
  const cases = JSON.parse(readFileSync(file, 'utf8')) as Array<{ settings: Options; ms: number }>;

  // The back end's tests read the same cases.
  it.each(cases)('under $settings is a little more than the back end takes', ({ settings, ms }) => {
    expect(newDataSource(settings)['patience']).toBe(ms + 5000);
  });
});

describe('Explore’s Live', () => {
  const answer = { key: 'a', data: [], state: LoadingState.Done };
  it.each([
    ['gets an answer again that it may have dropped', true, [0, 600]],
    ['is not meant otherwise', false, [0]],
  ])('%s', (_, liveStreaming, wanted) => {
    inner.mockReturnValue(of(answer));
    const absolute = { from: dateTime(NOW - 300_000), to: dateTime(NOW) };
    const got: number[] = [];
    newDataSource()
      .query(request({ liveStreaming, range: { ...absolute, raw: absolute } }))
      .subscribe(() => got.push(Date.now() - NOW));
    jest.advanceTimersByTime(10_000);
    expect(got).toEqual(wanted);
  });
});
