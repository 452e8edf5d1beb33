import { DataFrame, DataFrameJSON, DataQueryResponse, FieldType, LoadingState } from '@grafana/data';
import { NEVER, Observable, of, Subscription, switchMap, take, throwError, timer } from 'rxjs';
import { guard, Panel as Terms } from './guard';
import { Nonces } from './nonces';
import { DELAY, Server, Tab } from './testing/live';
import { Ask } from './types';

const START = 1_700_000_000_003;

/** All panels of a test, which are closed after it. */
let opened: Array<{ close: () => void }> = [];

/** A panel with one guarded query. */
class Panel {
  readonly asked: Array<Ask & { at: number }> = [];
  readonly answers: DataQueryResponse[] = [];
  private sub?: Subscription;

  constructor(
    private readonly nonces: Nonces,
    private readonly query: (ask: Ask) => Observable<DataQueryResponse>,
    private readonly terms: Partial<Terms> = {},
  ) {
    this.open();
  }

  open() {
    const query = (ask: Ask) => {
      this.asked.push({ at: Date.now() - START, ...ask });
      return this.query(ask);
    };
    const terms = { refId: 'A', nonces: this.nonces, key: 'query', patience: 30_000, ...this.terms };
    this.sub = guard(query, terms).subscribe((answer) => this.answers.push(answer));
    opened.push(this);
  }

  close() {
    this.sub?.unsubscribe();
  }

  get resyncs() {
    return this.asked.map(({ resync }) => resync).filter(Boolean);
  }

  get last() {
    return this.answers[this.answers.length - 1];
  }

  get rows(): DataFrame | undefined {
    return this.last?.data[0];
  }

  get notices() {
    return this.rows?.meta?.notices?.map(({ text }) => text);
  }
}

/** Every answer holds what a fresh query at its newest row returns; the model's row at time t has the value t. */
function expectExact(panel: Panel, step: number, window: number) {
  for (const { data } of panel.answers) {
    const [frame] = data as DataFrame[];
    if (frame) {
      expect(frame.length).toBe(window / step + 1);
      const newest = frame.fields[0]!.values[frame.length - 1] as number;
      const wrong = frame.fields.find((f) =>
        f.values.some((value, row) => value !== newest - (frame.length - 1 - row) * step),
      );
      expect(wrong).toBeUndefined();
    }
  }
}

function expectUpToDate(panel: Panel, step: number, window: number) {
  expectExact(panel, step, window);
  expect(panel.last?.state).toBe(LoadingState.Streaming);
  expect(panel.notices).toBeUndefined();
  expect(Date.now() - (panel.rows!.fields[0]!.values.at(-1) as number)).toBeLessThanOrEqual(2 * step);
}

beforeEach(() => {
  jest.useFakeTimers({ now: START });
  jest.spyOn(Math, 'random').mockReturnValue(0.5);
});

afterEach(() => {
  opened.forEach((panel) => panel.close());
  opened = [];
  jest.useRealTimers();
  jest.restoreAllMocks();
});

const wait = (ms: number) => jest.advanceTimersByTime(ms);

describe.each([20, 1000])('a panel at a step of %d ms', (STEP) => {
  const WINDOW = 60 * 1000;
  let server: Server;
  let tab: Tab;
  let nonces: Nonces;
  const live = (window = WINDOW) => new Panel(nonces, ({ nonce }) => tab.query(window, nonce));

  beforeEach(() => {
    server = new Server(STEP);
    tab = new Tab(server);
    nonces = new Nonces();
  });

  it('shows history at once and every row after it, with one query', () => {
    const panel = live();
    wait(DELAY.query + DELAY.answer);
    expectUpToDate(panel, STEP, WINDOW);
    wait(5000);
    expectUpToDate(panel, STEP, WINDOW);
    expect(server.queries).toBe(1);
  });

  it('is complete for a second viewer and a second panel, however old the first one is', () => {
    const first = live();
    wait(40_000);
    const other = new Tab(server);
    const viewer = new Panel(new Nonces(), ({ nonce }) => other.query(WINDOW, nonce));
    const second = live();
    wait(5000);
    [first, viewer, second].forEach((panel) => expectUpToDate(panel, STEP, WINDOW));
    expect(server.queries).toBe(3);
  });

  it('has the right history after the range went there and back', () => {
    let panel = live();
    for (const window of [3 * WINDOW, WINDOW]) {
      wait(2000);
      panel.close();
      panel = live(window);
      wait(2000);
      expectUpToDate(panel, STEP, window);
    }
    expect(server.queries).toBe(3);
  });

  it('stays exact through a cut that the overlap covers', () => {
    const panel = live();
    wait(5000);
    tab.disconnect();
    wait(3000);
    tab.reconnect();
    wait(3000);
    expectUpToDate(panel, STEP, WINDOW);
    expect(panel.resyncs).toEqual([]);
  });

  it('asks again at once after a cut that the overlap does not cover', () => {
    const panel = live();
    wait(5000);
    tab.disconnect();
    wait(14_000);
    tab.reconnect();
    wait(1000);
    expectUpToDate(panel, STEP, WINDOW);
    expect(panel.resyncs).toEqual(['hole']);
  });

  it('polls if there can be no stream, and says so', () => {
    server.refuses = true;
    const panel = live();
    wait(60_000);
    expectExact(panel, STEP, WINDOW);
    expect(panel.notices).toEqual([expect.stringContaining('No live rows')]);
    expect(panel.resyncs).toEqual(['silence', 'silence', 'silence']);
    server.refuses = false;
    wait(20_000);
    expectUpToDate(panel, STEP, WINDOW);
  });
});

describe('guard', () => {
  const STEP = 100;
  const WINDOW = 20_000;
  let server: Server;
  let tab: Tab;
  let nonces: Nonces;
  const live = (refId = 'A') => new Panel(nonces, ({ nonce }) => tab.query(WINDOW, nonce), { refId });

  beforeEach(() => {
    server = new Server(STEP);
    tab = new Tab(server);
    nonces = new Nonces();
  });

  it('needs the repeats of the overlap for what is lost at the join', () => {
    server = new Server(20, { initialData: false, repeat: true, distinctPaths: true });
    tab = new Tab(server);
    const panel = live();
    wait(DELAY.query + DELAY.answer + DELAY.subscribe + DELAY.hub + 100);
    const { length } = panel.answers; // there is a hole: the exact rows stay
    expect(length).toBe(1);
    wait(250);
    expectUpToDate(panel, 20, WINDOW);
    expect(panel.resyncs).toEqual([]);
  });

  it('gives a hole its grace, then asks again under a new nonce', () => {
    const panel = live();
    wait(3000);
    server.mute = true;
    wait(STEP);
    server.mute = false;
    const before = panel.answers.length;
    wait(1500);
    expect(panel.answers.length).toBe(before);
    expect(panel.resyncs).toEqual([]);
    wait(STEP + 250 + DELAY.query + DELAY.answer);
    expect(panel.asked.slice(1)).toEqual([{ at: expect.any(Number), nonce: 1, resync: 'hole' }]);
    expectUpToDate(panel, STEP, WINDOW);
  });

  it('forgives a hole that is filled', () => {
    const panel = live();
    wait(3000);
    server.mute = true;
    wait(STEP);
    server.mute = false;
    wait(1000);
    server.publishAll(server.overlap());
    expectUpToDate(panel, STEP, WINDOW);
    wait(10_000);
    expect(panel.resyncs).toEqual([]);
  });

  it('gives every hole a grace of its own', () => {
    const panel = live();
    wait(3000);
    for (const mended of [true, false]) {
      server.mute = true;
      wait(STEP);
      server.mute = false;
      wait(1000);
      if (mended) {
        server.publishAll(server.overlap());
      }
    }
    expect(panel.resyncs).toEqual([]);
    wait(1000);
    expect(panel.resyncs).toEqual(['hole']);
  });

  it('is polled after three doubtful streams, and says so', () => {
    const panel = new Panel(nonces, ({ polled, nonce }) =>
      polled ? tab.plain(WINDOW) : tab.query(WINDOW, nonce, { rows: 100 }),
    );
    wait(599_000);
    expect(panel.asked.filter(({ polled }) => !polled)).toEqual([
      expect.objectContaining({ nonce: 0, resync: undefined }),
      expect.objectContaining({ nonce: 1, resync: 'short' }),
      expect.objectContaining({ nonce: 2, resync: 'short' }),
    ]);
    expect(panel.asked.length).toBeLessThan(4 + 600 / 15);
    expectExact(panel, STEP, WINDOW);
    expect(panel.last?.state).toBe(LoadingState.Streaming);
    expect(panel.notices).toEqual([expect.stringContaining('history')]);
    expect(Date.now() - (panel.rows!.fields[0]!.values.at(-1) as number)).toBeLessThan(16_000);
    wait(20_000);
    expect(panel.asked.filter(({ polled }) => !polled).length).toBe(4);
  });

  const changed: DataFrameJSON = {
    schema: {
      fields: [
        { name: 'time', type: FieldType.time },
        { name: 'changed', type: FieldType.boolean },
      ],
    },
    data: { values: [[0], [true]] },
  };

  it('asks again when the back end says that the series have changed', () => {
    let names = ['a'];
    const panel = new Panel(nonces, ({ nonce }) => tab.query(WINDOW, nonce, { names }));
    wait(3000);
    names = ['a', 'b'];
    server.publishAll(changed);
    expect(panel.rows?.fields.map(({ name }) => name)).toEqual(['time', 'a']);
    wait(125 + DELAY.query + DELAY.answer);
    expect(panel.resyncs).toEqual(['fields']);
    expect(panel.rows?.fields.map(({ name }) => name)).toEqual(['time', 'a', 'b']);
  });

  it('never puts old and new series side by side', () => {
    const panel = new Panel(nonces, ({ nonce }) => tab.query(WINDOW, nonce, { names: ['a'] }));
    wait(3000);
    server.publishAll(server.history(WINDOW, 0, ['b']));
    wait(1000);
    expect(panel.resyncs).toEqual(['fields']);
    panel.answers.forEach(({ data }) => {
      expect((data[0] as DataFrame).fields.map(({ name }) => name)).toEqual(['time', 'a']);
    });
  });

  it('asks again when it gets a buffer in which a change was announced before', () => {
    const stale = live();
    wait(3000);
    stale.close();
    server.publishAll(changed);
    const panel = live();
    wait(2000);
    expect(panel.resyncs).toEqual(['fields']);
    expectUpToDate(panel, STEP, WINDOW);
  });

  it('asks again after 15 s of silence', () => {
    const panel = live();
    wait(3000);
    const heard = (panel.rows!.fields[0]!.values.at(-1) as number) - START;
    server.mute = true;
    wait(20_000);
    const took = DELAY.query + DELAY.answer;
    expect(panel.asked[1]).toEqual({ at: heard + 15_000 + took + 125, nonce: 1, resync: 'silence' });
  });

  it('counts a slow stream as alive, because its newest rows are repeated', () => {
    server = new Server(60_000);
    tab = new Tab(server);
    const panel = new Panel(nonces, ({ nonce }) => tab.query(600_000, nonce));
    for (let i = 0; i < 120; i++) {
      wait(5000);
      server.publishAll(server.overlap());
    }
    expect(panel.asked.length).toBe(1);
    expectUpToDate(panel, 60_000, 600_000);
    panel.answers.forEach(({ data: [frame] }) => expect(frame.meta.notices).toBeUndefined());
  });

  it('keeps saying that it is refused until it is not', () => {
    let refuses = true;
    const panel = new Panel(nonces, ({ nonce }) => {
      const answers = tab.query(WINDOW, nonce);
      return refuses ? answers.pipe(take(1)) : answers; // the channel ends right after its first answer
    });
    wait(30_000);
    panel.answers.length = 0;
    wait(30_000);
    expect(panel.answers.length).toBeGreaterThan(4);
    panel.answers.forEach(({ data: [frame] }) =>
      expect(frame.meta.notices).toEqual([{ severity: 'warning', text: expect.stringContaining('does not let') }]),
    );
    refuses = false;
    wait(15_000);
    expectUpToDate(panel, STEP, WINDOW);
  });

  it('does not mention a single refusal', () => {
    let refuses = true;
    const panel = new Panel(nonces, ({ nonce }) => {
      const answers = tab.query(WINDOW, nonce);
      return refuses ? answers.pipe(take(1)) : answers;
    });
    wait(DELAY.query + DELAY.answer);
    refuses = false;
    wait(2000);
    expect(panel.resyncs).toEqual(['refused']);
    panel.answers.forEach(({ data: [frame] }) => expect(frame.meta.notices).toBeUndefined());
  });

  it('keeps the rows while requests fail, says why, and goes on', () => {
    const panel = live();
    wait(3000);
    server.unreachable = true;
    server.publishAll(changed);
    wait(5000);
    expect(panel.last).toMatchObject({ state: LoadingState.Streaming });
    expect(panel.last?.error).toBeUndefined();
    expect(panel.notices).toEqual([expect.stringContaining('No answer')]);
    expectExact(panel, STEP, WINDOW);
    server.unreachable = false;
    wait(10_000);
    expectUpToDate(panel, STEP, WINDOW);
    expect(new Set(panel.resyncs)).toEqual(new Set(['fields', 'failure']));
    expect(nonces.of('query')).toBe(1); // failures do not renew it
  });

  it('shows the error of a first answer, and tries again', () => {
    const error = { message: 'the source is away', status: 502 };
    let answer: Observable<DataQueryResponse> = of({ data: [], state: LoadingState.Error, error });
    const panel = new Panel(nonces, ({ nonce }) => (nonce < 0 ? NEVER : answer));
    expect(panel.last).toEqual({ key: 'A', state: LoadingState.Error, data: [], error: { ...error, refId: 'A' } });
    answer = tab.query(WINDOW, 0);
    wait(3000);
    expect(panel.resyncs).toEqual(['failure']);
    expectUpToDate(panel, STEP, WINDOW);
  });

  it('shows what is wrong with a query, and leaves it at that', () => {
    const error = { refId: 'A', message: 'lowerLimit 3 is not below upperLimit 2', status: 400 };
    const panel = new Panel(nonces, () => of({ data: [], state: LoadingState.Error, error }));
    wait(60_000);
    expect(panel.asked.length).toBe(1);
    expect(panel.answers).toEqual([{ key: 'A', state: LoadingState.Error, data: [], error }]);
  });

  it.each([400, 401, 403, 404, 500])('waits for a refresh after a status of %d, and keeps the rows', (status) => {
    const error = { refId: 'A', message: 'no', status };
    const refused = () => of({ data: [], state: LoadingState.Error, error });
    let wrong = false;
    const panel = new Panel(nonces, ({ nonce }) => (wrong ? refused() : tab.query(WINDOW, nonce)));
    wait(3000);
    wrong = true;
    server.publishAll(changed);
    wait(600_000);
    expect(panel.asked.length).toBe(2);
    expect(panel.last).toMatchObject({ state: LoadingState.Streaming });
    expect(panel.notices).toEqual([error.message]);
    expectExact(panel, STEP, WINDOW);

    const panels = Array.from({ length: 20 }, () => new Panel(nonces, refused));
    wait(600_000);
    panels.forEach(({ asked, last }) => {
      expect(asked.length).toBe(1);
      expect(last).toEqual({ key: 'A', state: LoadingState.Error, data: [], error });
    });
    expect(jest.getTimerCount()).toBe(0);
  });

  it.each([
    ['which is being restarted', { status: 500, data: { messageId: 'plugin.unavailable' } }],
    ['whose source is away', { status: 502, message: 'the source is away' }],
    ['whose source is slow', { status: 504, message: 'the source is slow' }],
    ['that is out of reach', undefined],
  ])('asks a plugin %s again, at least every minute', (_, error: object | undefined) => {
    const panel = new Panel(nonces, () => of({ data: [], state: LoadingState.Error, error }));
    wait(600_000);
    const waits = panel.asked.slice(1).map(({ at }, i) => at - panel.asked[i]!.at);
    expect(waits.slice(0, 8)).toEqual([125, 250, 500, 1000, 2000, 4000, 8000, 16_000]);
    expect(new Set(waits.slice(8))).toEqual(new Set([30_000])); // a minute at most, by chance
  });

  it.each([429, 503])('keeps to the Retry-After of a status of %d', (status) => {
    const data = [{ fields: [], length: 0, meta: { custom: { retryAfter: 120 } } }];
    const error = { status, message: 'too many requests' };
    const panel = new Panel(nonces, () => of({ data, state: LoadingState.Error, error }));
    wait(600_000);
    const waits = panel.asked.slice(1).map(({ at }, i) => at - panel.asked[i]!.at);
    expect(waits).toEqual([120_125, 120_250, 120_500, 121_000]);
    expect(panel.last).toMatchObject({ state: LoadingState.Error, error });
  });

  it('waits as long as Grafana itself says when it has too many requests', () => {
    const data = { message: 'too many requests', details: { retryAfterSeconds: 90 } };
    const panel = new Panel(nonces, () => throwError(() => ({ status: 429, data })));
    wait(300_000);
    const waits = panel.asked.slice(1).map(({ at }, i) => at - panel.asked[i]!.at);
    expect(waits).toEqual([90_125, 90_250, 90_500]);
    expect(panel.last).toMatchObject({ state: LoadingState.Error, error: { message: 'too many requests' } });
  });

  it('waits longer for a server that has too many requests and does not say how long to wait', () => {
    const panel = new Panel(nonces, () => of({ data: [], state: LoadingState.Error, error: { status: 429 } }));
    wait(120_000);
    const waits = panel.asked.slice(1).map(({ at }, i) => at - panel.asked[i]!.at);
    expect(waits).toEqual([2500, 5000, 10_000, 20_000, 30_000, 30_000]);
  });

  it('asks ever more slowly while no answer comes, and quickly again after a good while', () => {
    let fails = true;
    const panel = new Panel(nonces, ({ nonce }) => (fails ? of({ data: [] }) : tab.query(WINDOW, nonce)));
    wait(60_000);
    const waits = panel.asked.slice(1).map(({ at }, i) => at - panel.asked[i]!.at);
    expect(waits.slice(0, 8)).toEqual([125, 250, 500, 1000, 2000, 4000, 8000, 16_000]);
    fails = false;
    wait(95_000);
    server.publishAll(changed);
    const { at } = panel.asked.at(-1)!;
    wait(1000);
    expect(panel.asked.length).toBeGreaterThan(1);
    expect(panel.asked.at(-1)).toEqual({ at: expect.any(Number), nonce: 1, resync: 'fields' });
    expect(panel.asked.at(-1)!.at - at).toBeGreaterThan(60_000);
    expect(Date.now() - START - panel.asked.at(-1)!.at).toBe(1000 - 125);
  });

  it.each<[string, () => Observable<DataQueryResponse>, string]>([
    ['is empty', () => of({ data: [] }), 'No answer'],
    ['fails', () => throwError(() => ({ message: 'unknown data source' })), 'unknown data source'],
    [
      'is an exception',
      () => {
        throw new Error('unknown data source');
      },
      'unknown data source',
    ],
  ])('treats an answer that %s as a failure', (_, query, text) => {
    const panel = new Panel(nonces, query);
    expect(panel.last).toMatchObject({ state: LoadingState.Error, error: { message: expect.stringContaining(text) } });
    wait(250);
    expect(panel.resyncs).toEqual(['failure']);
  });

  it('asks once for all that is wrong with an answer', () => {
    const panel = new Panel(nonces, () => of({ data: [] }, { data: [] }));
    wait(300); // the first wait is 125 ms, the second one 250 ms
    expect(panel.asked.length).toBe(2);
  });

  it('does not wait for an answer for ever', () => {
    const panel = new Panel(nonces, () => NEVER);
    wait(30_000 + 125);
    expect(panel.last).toMatchObject({ state: LoadingState.Error });
    expect(panel.resyncs).toEqual(['failure']);
    expect(nonces.of('query')).toBe(0);
  });

  it('waits as long as the settings allow, and as long again for the first row', () => {
    const SLOW = 45_000;
    const slowly = (nonce: number) =>
      new Observable<DataQueryResponse>((out) => {
        const answer = setTimeout(() => sub.add(tab.query(WINDOW, nonce).subscribe(out)), SLOW);
        const sub = new Subscription(() => clearTimeout(answer));
        return sub;
      });
    server.mute = true;
    const panel = new Panel(nonces, ({ nonce }) => slowly(nonce), { patience: 65_000 });
    wait(SLOW + 1000);
    expectExact(panel, STEP, WINDOW);
    expect(panel.answers.length).toBeGreaterThan(0);
    wait(SLOW);
    expect(panel.asked.length).toBe(1);
  });

  it('shows a plain answer as it is and completes', () => {
    const frame = { fields: [], length: 0 };
    const complete = jest.fn();
    const next = jest.fn();
    guard(() => of({ data: [frame], state: LoadingState.Done }), {
      refId: 'A',
      nonces,
      key: '',
      patience: 1,
    }).subscribe({ next, complete });
    expect(next.mock.calls).toEqual([[{ key: 'A', data: [frame], state: LoadingState.Done }]]);
    expect(complete).toHaveBeenCalled();
    expect(jest.getTimerCount()).toBe(0);
  });

  it('polls while a notice says why there is no stream, and streams when there is', () => {
    const notices = [{ severity: 'warning' as const, text: 'Too many streams' }];
    let answer: Observable<DataQueryResponse> = of({ data: [{ fields: [], length: 0, meta: { notices } }] });
    const panel = new Panel(nonces, () => answer);
    wait(40_000);
    expect(panel.asked.map(({ at, resync }) => [at, resync])).toEqual([
      [0, undefined],
      [15_000, 'refused'],
      [30_000, 'refused'],
    ]);
    expect(panel.answers.length).toBe(3);
    expect(panel.last?.state).toBe(LoadingState.Streaming); // else Grafana's axis would stand still
    panel.answers.length = 0;
    answer = tab.query(WINDOW, 0);
    wait(10_000);
    expectUpToDate(panel, STEP, WINDOW);
    expect(nonces.of('query')).toBe(0);
  });

  it('polls less often where rows are hours apart', () => {
    const notices = [{ severity: 'info' as const, text: 'The clocks of a time zone' }];
    const time = { name: 'time', type: FieldType.time, config: { interval: 86_400_000 }, values: [] };
    const meta = { notices, custom: { poll: true } };
    const panel = new Panel(nonces, () => of({ data: [{ fields: [time], length: 0, meta }] }));
    wait(800_000);
    expect(panel.asked.map(({ at }) => at)).toEqual([0, 360_000, 720_000]);
  });

  it('does not poll for a remark', () => {
    const notices = [{ severity: 'info' as const, text: 'Rows are 1m0s apart and not 1s' }];
    const panel = new Panel(nonces, () => of({ data: [{ fields: [], length: 0, meta: { notices } }] }));
    wait(40_000);
    expect(panel.asked.map(({ at }) => at)).toEqual([0]);
    expect(panel.notices).toEqual([notices[0]!.text]);
  });

  it('keeps rows without a stream, too, while requests fail', () => {
    const notices = [{ severity: 'warning' as const, text: 'Too many streams' }];
    let answer: Observable<DataQueryResponse> = of({ data: [{ fields: [], length: 0, meta: { notices } }] });
    const panel = new Panel(nonces, () => answer);
    answer = of({ data: [] });
    wait(16_000);
    expect(panel.last?.state).toBe(LoadingState.Streaming);
    expect(panel.notices).toEqual(['Too many streams', expect.stringContaining('No answer')]);
  });

  it('says an error of the stream in a notice', () => {
    const emitted = { error: undefined as { message: string } | undefined };
    const panel = new Panel(nonces, ({ nonce }) => {
      return new Observable((out) =>
        tab
          .query(WINDOW, nonce)
          .subscribe((answer) =>
            out.next(emitted.error ? { ...answer, error: emitted.error, state: LoadingState.Error } : answer),
          ),
      );
    });
    wait(1000);
    emitted.error = { message: 'Streaming channel error: too many requests' };
    wait(2 * STEP);
    expect(panel.last?.state).toBe(LoadingState.Streaming);
    expect(panel.notices).toEqual(['Streaming channel error: too many requests']);
    expectExact(panel, STEP, WINDOW);
    wait(16_000); // errors are no rows
    expect(panel.resyncs).toEqual(['silence']);
  });

  it('asks again when the stream ends', () => {
    const panel = new Panel(nonces, ({ nonce }) =>
      nonce > 0
        ? tab.query(WINDOW, nonce)
        : new Observable((out) => {
            const sub = tab.query(WINDOW, nonce).subscribe((answer) => out.next(answer));
            setTimeout(() => out.complete(), 2000);
            return sub;
          }),
    );
    wait(3000);
    expect(panel.resyncs).toEqual(['refused']);
    wait(1000);
    expectUpToDate(panel, STEP, WINDOW);
  });

  it('leaves nothing behind', () => {
    const panel = live();
    wait(3000);
    server.mute = true;
    wait(STEP);
    server.mute = false;
    wait(STEP);
    panel.close(); // in a hole's grace
    wait(10_000);
    expect(panel.asked.length).toBe(1);

    const other = new Panel(nonces, () => of({ data: [] }));
    other.close(); // in the wait for the next try
    wait(60_000);
    expect(other.asked.length).toBe(1);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('lets the first panel in doubt renew the nonce for all', () => {
    const panels = [live('A'), live('B'), live('C')];
    wait(3000);
    server.mute = true;
    wait(STEP);
    server.mute = false;
    wait(3000);
    panels.forEach((panel) => {
      expect(panel.asked.map(({ nonce }) => nonce)).toEqual([0, 1]);
      expectUpToDate(panel, STEP, WINDOW);
    });
    panels[0]!.close();
    panels[0]!.open(); // a refresh
    wait(1000);
    expect(panels[0]!.asked[2]).toMatchObject({ nonce: 1, resync: undefined });
    expectUpToDate(panels[0]!, STEP, WINDOW);
  });

  it('sets its own refId, whoever opened the buffer', () => {
    const [a, b] = [live('A'), live('B')];
    wait(1000);
    expect([a.rows?.refId, b.rows?.refId]).toEqual(['A', 'B']);
    expect([a.last?.key, b.last?.key]).toEqual(['A', 'B']);
  });

  it('stays exact whatever happens', () => {
    const panels = [live('A'), live('B')];
    for (let i = 0; i < 200; i++) {
      const acts = [
        () => tab.disconnect(),
        () => tab.reconnect(),
        () => (server.mute = !server.mute),
        () => (server.unreachable = !server.unreachable),
        () => server.publishAll(server.overlap()),
        () => panels[i % 2]!.close(),
        () => {
          panels[i % 2]!.close();
          panels[i % 2]!.open();
        },
      ];
      acts[(i * 7919) % acts.length]!();
      wait((i * 104_729) % 7000);
    }
    tab.reconnect();
    server.mute = server.unreachable = false;
    panels.forEach((panel) => {
      panel.close();
      panel.open();
    });
    wait(40_000);
    panels.forEach((panel) => expectUpToDate(panel, STEP, WINDOW));
  });

  it('leaves the channels of others alone while one panel churns', () => {
    const STEP = 1000;
    server = new Server(STEP);
    tab = new Tab(server);
    let churns = 0;
    const channels = new Set<string>();
    const panels = Array.from({ length: 10 }, (_, i) => {
      const names = () => (i === 0 ? [`series ${churns}`] : [`panel ${i}`]);
      const ask = ({ polled, nonce }: Ask) => {
        const digest = names()[0]!;
        channels.add(polled ? '' : `${digest}/${nonce}`);
        return polled ? tab.plain(WINDOW) : tab.query(WINDOW, nonce, { names: names(), digest });
      };
      return new Panel(nonces, ask, { key: `${i}` });
    });
    const churn = setInterval(() => {
      server.publishTo(`series ${churns++}`, changed);
    }, 7000);
    wait(600_000);
    clearInterval(churn);
    channels.delete('');
    expect(channels.size).toBeLessThanOrEqual(12);
    panels.slice(1).forEach((panel) => {
      expect(panel.asked.length).toBe(1);
      expectUpToDate(panel, STEP, WINDOW);
    });
  });

  describe('in a hidden tab', () => {
    const STEP = 1000; // for an hour
    beforeEach(() => {
      server = new Server(STEP);
      tab = new Tab(server);
    });

    const show = (state: 'visible' | 'hidden') => {
      jest.spyOn(document, 'visibilityState', 'get').mockReturnValue(state);
      document.dispatchEvent(new Event('visibilitychange'));
    };
    const HOUR = 3_600_000;

    it('shows nothing, keeps its stream, and is right at once when it is seen', () => {
      const panel = live();
      wait(3000);
      show('hidden');
      const { length } = panel.answers;
      wait(HOUR);
      expect(panel.answers.length).toBe(length);
      show('visible');
      expectUpToDate(panel, STEP, WINDOW);
      expect(panel.asked.length).toBe(1);
    });

    it('does not ask when the stream dies, and is right within a second of being seen', () => {
      const panel = live();
      wait(3000);
      show('hidden');
      tab.disconnect();
      wait(HOUR);
      expect(panel.asked.length).toBe(1);
      tab.reconnect();
      show('visible');
      wait(1000);
      expectUpToDate(panel, STEP, WINDOW);
      expect(panel.asked.length).toBe(2);
    });

    it('has no grace for a hole that it did not watch', () => {
      const panel = live();
      wait(3000);
      show('hidden');
      server.mute = true;
      wait(STEP);
      server.mute = false;
      wait(1000);
      show('visible');
      wait(1000);
      expectUpToDate(panel, STEP, WINDOW);
      expect(panel.resyncs).toEqual(['hole']);
    });

    it('does not poll', () => {
      const notices = [{ severity: 'warning' as const, text: 'Too many streams' }];
      const polled = new Panel(nonces, () => of({ data: [{ fields: [], length: 0, meta: { notices } }] }));
      const failing = new Panel(nonces, () => of({ data: [] }));
      wait(20_000);
      show('hidden');
      const asked = [polled.asked.length, failing.asked.length];
      wait(HOUR);
      expect([polled.asked.length, failing.asked.length]).toEqual(asked);
      show('visible');
      wait(0);
      expect([polled.asked.length, failing.asked.length]).toEqual(asked.map((n) => n + 1));
    });

    it('is the same for a panel out of sight', () => {
      let isOutOfSight = false;
      const ask = ({ nonce }: Ask) => tab.query(WINDOW, nonce);
      const panel = new Panel(nonces, ask, { isOutOfSight: () => isOutOfSight });
      wait(3000);
      isOutOfSight = true;
      wait(1000); // it is looked at every second
      const { length } = panel.answers;
      wait(HOUR);
      expect(panel.answers.length).toBe(length);
      isOutOfSight = false;
      wait(1000);
      expectUpToDate(panel, STEP, WINDOW);
      expect(panel.asked.length).toBe(1);
    });

    it('shows its first answer', () => {
      show('hidden');
      const panel = live();
      wait(1000);
      expectExact(panel, STEP, WINDOW);
      expect(panel.answers.length).toBe(1);
    });
  });

  it('is right within a second after hours of sleep', () => {
    const panel = live();
    wait(3000);
    tab.disconnect();
    jest.setSystemTime(Date.now() + 8 * 3_600_000); // timers stand still
    tab.reconnect();
    panel.answers.length = 0;
    wait(2000); // the clock is looked at every second
    expect(panel.asked.length).toBe(2);
    expectUpToDate(panel, STEP, WINDOW);
  });

  describe('of a range that grows', () => {
    const MINUTE = 60_000;
    const from = () => (Math.floor(Date.now() / MINUTE) - 1) * MINUTE; // now-1m/m
    /** The window of the back end, with the room that the front end asks for. */
    const ask = ({ nonce }: Ask) => tab.query(Math.ceil((Date.now() - from() + MINUTE) / 1000) * 1000, nonce);
    const wanted = () => ({ from: from(), length: Date.now() - from(), reach: Date.now() - from() + MINUTE / 2 });
    const expectWhole = (panel: Panel) => {
      const times = panel.rows!.fields[0]!.values as number[];
      expect([times[0], times.length]).toEqual([from(), (times.at(-1)! - from()) / 1000 + 1]);
      expect(Date.now() - times.at(-1)!).toBeLessThan(1500);
    };

    it('begins where the range does, whenever it is looked at', () => {
      server = new Server(1000);
      tab = new Tab(server);
      const panel = new Panel(nonces, ask, { wanted, grows: true });
      for (let i = 0; i < 300; i++) {
        wait(1000);
        expectWhole(panel);
      }
      expect(panel.asked.length).toBeLessThan(10);
      expect(nonces.of('query')).toBe(0);
    });

    describe('and has outgrown its window', () => {
      const answersAfter = (ms: number, answer: (ask: Ask) => Observable<DataQueryResponse>) => (asked: Ask) =>
        timer(ms).pipe(switchMap(() => answer(asked)));
      /** Opens a panel, and changes how queries are answered from then on. */
      const open = (later: (ask: Ask) => Observable<DataQueryResponse>) => {
        server = new Server(1000);
        tab = new Tab(server);
        let query = ask;
        const panel = new Panel(nonces, (asked) => query(asked), { wanted, grows: true });
        wait(2000);
        query = later;
        return panel;
      };

      it('goes on with its stream until a longer one is there', () => {
        const panel = open(answersAfter(20_000, ask));
        for (let i = 0; i < 300; i++) {
          wait(1000);
          expectWhole(panel);
          expect(panel.notices).toBeUndefined();
        }
        expect(new Set(panel.resyncs)).toEqual(new Set(['range']));
      });

      it('goes on with its stream while requests fail, and asks ever more slowly', () => {
        const panel = open(() => of({ data: [] }));
        for (let i = 0; panel.asked.length < 4; i++) {
          wait(1000);
          expectWhole(panel);
          expect(panel.notices).toBeUndefined();
        }
      });

      it('says so when a longer one is refused for good', () => {
        const error = { refId: 'A', message: 'no', status: 403 };
        const panel = open(() => of({ data: [], state: LoadingState.Error, error }));
        wait(600_000);
        expect(panel.asked.length).toBe(2);
        expect(panel.last?.state).toBe(LoadingState.Streaming);
        expect(panel.notices).toEqual(['no']);
        expect(jest.getTimerCount()).toBe(0);
      });

      it('leaves both streams when it is closed', () => {
        const panel = open(() => NEVER);
        for (let i = 0; panel.asked.length < 2; i++) {
          wait(1000);
        }
        panel.close();
        wait(10_000);
        expect(jest.getTimerCount()).toBe(0);
      });
    });

    it('is asked for until it is long enough for a stream', () => {
      const panel = new Panel(nonces, () => of({ data: [{ fields: [], length: 0 }] }), { wanted, grows: true });
      wait(40_000);
      expect(panel.asked.length).toBe(3);
    });
  });
});
