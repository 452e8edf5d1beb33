import { DataFrame, DataFrameJSON, DataQueryResponse, FieldType, LoadingState } from '@grafana/data';
import { NEVER, Observable, of, Subscription, take, throwError } from 'rxjs';
import { guard, Nonce, nonceOf } from './guard';
import { DELAY, Server, Tab } from './testing/live';
import { Ask } from './types';

const START = 1_700_000_000_003;

/** A panel with one guarded query. */
class Panel {
  readonly asked: Array<{ at: number; nonce: number; resync?: string }> = [];
  readonly answers: DataQueryResponse[] = [];
  private sub?: Subscription;

  constructor(
    private readonly nonce: Nonce,
    private readonly query: (ask: Ask) => Observable<DataQueryResponse>,
    private readonly refId = 'A',
  ) {
    this.open();
  }

  open() {
    const query = (ask: Ask) => {
      this.asked.push({ at: Date.now() - START, nonce: ask.nonce, resync: ask.resync });
      return this.query(ask);
    };
    this.sub = guard(query, this.refId, this.nonce).subscribe((answer) => this.answers.push(answer));
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
      expect(frame.length).toBe(window / step);
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
  jest.useRealTimers();
  jest.restoreAllMocks();
});

const wait = (ms: number) => jest.advanceTimersByTime(ms);

describe.each([20, 1000])('a panel at a step of %d ms', (STEP) => {
  const WINDOW = 60 * 1000;
  let server: Server;
  let tab: Tab;
  let nonce: Nonce;
  const live = (window = WINDOW) => new Panel(nonce, ({ nonce }) => tab.query(window, nonce));

  beforeEach(() => {
    server = new Server(STEP);
    tab = new Tab(server);
    nonce = { current: 0 };
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
    const viewer = new Panel({ current: 0 }, ({ nonce }) => other.query(WINDOW, nonce));
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

  it('polls where no stream is to be had, and says so', () => {
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
  let nonce: Nonce;
  const live = (refId = 'A') => new Panel(nonce, ({ nonce }) => tab.query(WINDOW, nonce), refId);

  beforeEach(() => {
    server = new Server(STEP);
    tab = new Tab(server);
    nonce = { current: 0 };
  });

  it('needs the repeats of the overlap for what is lost at the join', () => {
    server = new Server(20, { initialData: false, repeat: true, distinctPaths: true });
    tab = new Tab(server);
    const panel = live();
    wait(DELAY.query + DELAY.answer + DELAY.subscribe + DELAY.hub + 100);
    const { length } = panel.answers; // there is a hole: what was exact stays
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

  it('asks again, ever more slowly, while the buffer is too small', () => {
    const panel = new Panel(nonce, ({ nonce }) => tab.query(WINDOW, nonce, { rows: 100 }));
    wait(60_000);
    expect(new Set(panel.resyncs)).toEqual(new Set(['short']));
    expect(panel.asked.length).toBeLessThan(20);
    expect(panel.last).toMatchObject({
      state: LoadingState.Error,
      error: { message: expect.stringContaining('history') },
    });
    const waits = panel.asked.slice(1).map(({ at }, i) => at - panel.asked[i]!.at - DELAY.query - DELAY.answer);
    expect(waits.slice(0, 5)).toEqual([250, 500, 1000, 2000, 4000]);
    expect(Math.max(...waits)).toBe(5000);
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
    const panel = new Panel(nonce, ({ nonce }) => tab.query(WINDOW, nonce, { names }));
    wait(3000);
    names = ['a', 'b'];
    server.publishAll(changed);
    expect(panel.rows?.fields.map(({ name }) => name)).toEqual(['time', 'a']);
    wait(250 + DELAY.query + DELAY.answer);
    expect(panel.resyncs).toEqual(['fields']);
    expect(panel.rows?.fields.map(({ name }) => name)).toEqual(['time', 'a', 'b']);
  });

  it('never puts old and new series side by side', () => {
    const panel = new Panel(nonce, ({ nonce }) => tab.query(WINDOW, nonce, { names: ['a'] }));
    wait(3000);
    server.publishAll(server.history(WINDOW, 0, ['b']));
    wait(1000);
    expect(panel.resyncs).toEqual(['fields']);
    panel.answers.forEach(({ data }) => {
      expect((data[0] as DataFrame).fields.map(({ name }) => name)).toEqual(['time', 'a']);
    });
  });

  it('is not fooled by a buffer that was told of a change before', () => {
    const stale = live();
    wait(3000);
    stale.close();
    server.publishAll(changed);
    const panel = live();
    wait(2000);
    expect(panel.resyncs).toEqual(['fields']);
    expectUpToDate(panel, STEP, WINDOW);
  });

  it('asks again after a step and 15 s of silence', () => {
    const panel = live();
    wait(3000);
    const heard = (panel.rows!.fields[0]!.values.at(-1) as number) - START;
    server.mute = true;
    wait(20_000);
    expect(panel.asked[1]).toEqual({ at: heard + STEP + 15_000 + 125, nonce: 1, resync: 'silence' });
  });

  it('asks again when only old rows come, as they do when the clock of the source was set back', () => {
    const panel = live();
    wait(3000);
    const heard = (panel.rows!.fields[0]!.values.at(-1) as number) - START;
    const old = server.overlap();
    server.mute = true;
    for (let i = 0; i < 16; i++) {
      wait(1000);
      server.mute = false;
      server.publishAll(old);
      server.mute = true;
    }
    expect(panel.asked.slice(1)).toEqual([{ at: heard + STEP + 15_000 + 125, nonce: 1, resync: 'silence' }]);
  });

  it('keeps saying that it is refused until it is not', () => {
    let refuses = true;
    const panel = new Panel(nonce, ({ nonce }) => {
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
    const panel = new Panel(nonce, ({ nonce }) => {
      const answers = tab.query(WINDOW, nonce);
      return refuses ? answers.pipe(take(1)) : answers;
    });
    wait(DELAY.query + DELAY.answer);
    refuses = false;
    wait(2000);
    expect(panel.resyncs).toEqual(['refused']);
    panel.answers.forEach(({ data: [frame] }) => expect(frame.meta.notices).toBeUndefined());
  });

  it('never waits longer than a timer can', () => {
    server = new Server(40 * 24 * 3600 * 1000);
    tab = new Tab(server);
    const panel = new Panel(nonce, ({ nonce }) => tab.query(server.step * 10, nonce));
    wait(60_000);
    expect(panel.resyncs).toEqual([]);
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
    expect(nonce.current).toBe(1); // failures have used none
  });

  it('shows the error of a first answer, and tries again', () => {
    const error = { message: 'the source is away', status: 502 };
    let answer: Observable<DataQueryResponse> = of({ data: [], state: LoadingState.Error, error });
    const panel = new Panel(nonce, ({ nonce }) => (nonce < 0 ? NEVER : answer));
    expect(panel.last).toEqual({ key: 'A', state: LoadingState.Error, data: [], error: { ...error, refId: 'A' } });
    answer = tab.query(WINDOW, 0);
    wait(3000);
    expect(panel.resyncs).toEqual(['failure']);
    expectUpToDate(panel, STEP, WINDOW);
  });

  it('shows what is wrong with a query, and leaves it at that', () => {
    const error = { refId: 'A', message: 'lowerLimit 3 is not below upperLimit 2', status: 400 };
    const panel = new Panel(nonce, () => of({ data: [], state: LoadingState.Error, error }));
    wait(60_000);
    expect(panel.asked.length).toBe(1);
    expect(panel.answers).toEqual([{ key: 'A', state: LoadingState.Error, data: [], error }]);
  });

  it('keeps the rows when the query is wrong all of a sudden, and goes on', () => {
    const error = { refId: 'A', message: 'the query has 200 rows, more than the 10 allowed', status: 400 };
    let wrong = false;
    const panel = new Panel(nonce, ({ nonce }) =>
      wrong ? of({ data: [], state: LoadingState.Error, error }) : tab.query(WINDOW, nonce),
    );
    wait(3000);
    wrong = true;
    server.publishAll(changed);
    wait(20_000);
    expect(panel.last).toMatchObject({ state: LoadingState.Streaming });
    expect(panel.notices).toEqual([error.message]);
    expectExact(panel, STEP, WINDOW);
    expect(new Set(panel.resyncs.slice(1))).toEqual(new Set(['failure']));
    wrong = false;
    wait(15_000);
    expectUpToDate(panel, STEP, WINDOW);
  });

  it('asks ever more slowly while no answer comes, and quickly again after a good while', () => {
    let fails = true;
    const panel = new Panel(nonce, ({ nonce }) => (fails ? of({ data: [] }) : tab.query(WINDOW, nonce)));
    wait(60_000);
    const waits = panel.asked.slice(1).map(({ at }, i) => at - panel.asked[i]!.at);
    expect(waits.slice(0, 8)).toEqual([250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
    fails = false;
    wait(30_000);
    server.publishAll(changed);
    const { at } = panel.asked.at(-1)!;
    wait(1000);
    expect(panel.asked.length).toBeGreaterThan(1);
    expect(panel.asked.at(-1)).toEqual({ at: expect.any(Number), nonce: 1, resync: 'fields' });
    expect(panel.asked.at(-1)!.at - at).toBeGreaterThan(20_000);
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
    const panel = new Panel(nonce, query);
    expect(panel.last).toMatchObject({ state: LoadingState.Error, error: { message: expect.stringContaining(text) } });
    wait(250);
    expect(panel.resyncs).toEqual(['failure']);
  });

  it('asks once for all that is wrong with an answer', () => {
    const panel = new Panel(nonce, () => of({ data: [] }, { data: [] }));
    wait(600); // the first wait is 250 ms, the second one 500 ms
    expect(panel.asked.length).toBe(2);
  });

  it('does not wait for an answer for ever', () => {
    const panel = new Panel(nonce, () => NEVER);
    wait(30_000 + 125);
    expect(panel.last).toMatchObject({ state: LoadingState.Error });
    expect(panel.resyncs).toEqual(['silence']);
    expect(nonce.current).toBe(0);
  });

  it('shows a plain answer as it is and completes', () => {
    const frame = { fields: [], length: 0 };
    const complete = jest.fn();
    const next = jest.fn();
    guard(() => of({ data: [frame], state: LoadingState.Done }), 'A', nonce).subscribe({ next, complete });
    expect(next.mock.calls).toEqual([[{ key: 'A', data: [frame], state: LoadingState.Done }]]);
    expect(complete).toHaveBeenCalled();
    expect(jest.getTimerCount()).toBe(0);
  });

  it('polls while a notice says why there is no stream, and streams when there is', () => {
    const notices = [{ severity: 'warning' as const, text: 'Too many streams' }];
    let answer: Observable<DataQueryResponse> = of({ data: [{ fields: [], length: 0, meta: { notices } }] });
    const panel = new Panel(nonce, () => answer);
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
    expect(nonce.current).toBe(0);
  });

  it('keeps rows without a stream, too, while requests fail', () => {
    const notices = [{ severity: 'warning' as const, text: 'Too many streams' }];
    let answer: Observable<DataQueryResponse> = of({ data: [{ fields: [], length: 0, meta: { notices } }] });
    const panel = new Panel(nonce, () => answer);
    answer = of({ data: [] });
    wait(16_000);
    expect(panel.last?.state).toBe(LoadingState.Streaming);
    expect(panel.notices).toEqual(['Too many streams', expect.stringContaining('No answer')]);
  });

  it('says an error of the stream in a notice', () => {
    const emitted = { error: undefined as { message: string } | undefined };
    const panel = new Panel(nonce, ({ nonce }) => {
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
    const panel = new Panel(nonce, ({ nonce }) =>
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

    const other = new Panel(nonce, () => of({ data: [] }));
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
});

describe('nonceOf', () => {
  it('is one per data source and outlives all else', () => {
    nonceOf('one').current = 7;
    expect(nonceOf('one').current).toBe(7);
    expect(nonceOf('other').current).toBe(0);
  });
});
