import { DataFrame } from '@grafana/data';
import { Server, Tab } from './live';

/** Tests of the model itself: the pattern of the tutorial must fail in it as it does in a real Grafana. */
describe("the tutorial's pattern, without a guard", () => {
  const STEP = 20;
  const tutorial = { initialData: false, repeat: false, distinctPaths: false };

  beforeEach(() => {
    jest.useFakeTimers({ now: 1_700_000_000_000 });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  const open = (tab: Tab, window: number) => {
    let shown: DataFrame | undefined;
    const sub = tab.query(window, 0).subscribe(({ data }) => (shown = data[0]));
    return { times: () => shown!.fields[0]!.values as number[], leave: () => sub.unsubscribe() };
  };
  const holes = (times: number[]) => times.filter((t, i) => i > 0 && t - times[i - 1]! > STEP).length;

  it('loses rows at the join', () => {
    const panel = open(new Tab(new Server(STEP, tutorial)), 2000);
    jest.advanceTimersByTime(1000);
    expect(holes(panel.times())).toBe(1);
  });

  it('loses rows when the socket is cut', () => {
    const tab = new Tab(new Server(STEP, tutorial));
    const panel = open(tab, 2000);
    jest.advanceTimersByTime(1000);
    tab.disconnect();
    jest.advanceTimersByTime(500);
    tab.reconnect();
    jest.advanceTimersByTime(1000);
    expect(holes(panel.times())).toBe(2);
  });

  it('keeps the wrong history after a change of the range', () => {
    const tab = new Tab(new Server(STEP, tutorial));
    const short = open(tab, 2000);
    jest.advanceTimersByTime(1000);
    short.leave();
    const long = open(tab, 60_000);
    jest.advanceTimersByTime(1000);
    const times = long.times();
    expect(times[times.length - 1]! - times[0]!).toBeLessThan(5000);
  });

  it('gets rows twice when another viewer joins with an overlap', () => {
    const server = new Server(STEP, { ...tutorial, initialData: true, repeat: true });
    const panel = open(new Tab(server), 2000);
    jest.advanceTimersByTime(2000);
    const times = panel.times();
    expect(new Set(times).size).toBeLessThan(times.length);
  });

  it('loses nothing that the overlap brings', () => {
    const server = new Server(STEP, { ...tutorial, initialData: true, repeat: true });
    const panel = open(new Tab(server), 2000);
    jest.advanceTimersByTime(2000);
    expect(holes([...new Set(panel.times())].sort())).toBe(0);
  });
});
