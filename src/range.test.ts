import { DataQueryRequest, dateTime, RawTimeRange, ScopedVars } from '@grafana/data';
import { LiveRange } from './range';

const PATIENCE = 30_000;
const at = (text: string) => Date.parse(text);
const iso = (ms: number) => new Date(ms).toISOString();

/** The scoped variables of a panel whose ancestors have these time ranges, the innermost first. */
function panelUnder(...ranges: object[]): ScopedVars {
  const runner = ranges.reduceRight<object | undefined>(
    (parent, state) => ({ parent, state: { $timeRange: { state } } }),
    undefined,
  );
  return { __sceneObject: { text: '', value: { valueOf: () => runner } } };
}

const rangeOf = (raw: RawTimeRange, timezone = 'utc', scopedVars: ScopedVars = {}) =>
  new LiveRange({ range: { raw } as DataQueryRequest['range'], timezone, scopedVars }, PATIENCE);

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

describe('the start of a range', () => {
  it.each<[string, string, string, string]>([
    ['now-1m/m', 'utc', '2026-03-05T10:00:59.000Z', '2026-03-05T09:59:00.000Z'],
    ['now-1m/m', 'utc', '2026-03-05T10:01:00.000Z', '2026-03-05T10:00:00.000Z'],
    ['now-1h/h', 'utc', '2026-03-05T10:59:59.000Z', '2026-03-05T09:00:00.000Z'],
    ['now/d', 'utc', '2026-03-05T23:59:59.000Z', '2026-03-05T00:00:00.000Z'],
    ['now/d', 'utc', '2026-03-06T00:00:01.000Z', '2026-03-06T00:00:00.000Z'],
    ['now/d', 'Asia/Kolkata', '2026-03-05T18:29:00.000Z', '2026-03-04T18:30:00.000Z'],
    ['now/d', 'Asia/Kolkata', '2026-03-05T18:30:00.000Z', '2026-03-05T18:30:00.000Z'],
    ['now/w', 'utc', '2026-03-07T12:00:00.000Z', '2026-03-01T00:00:00.000Z'],
    ['2026-03-01T06:00:00.000Z', 'Asia/Kolkata', '2026-03-05T12:00:00.000Z', '2026-03-01T06:00:00.000Z'],
  ])('%s in %s at %s is %s', (from, timezone, now, start) => {
    jest.setSystemTime(at(now));
    const range = rangeOf({ from, to: 'now' }, timezone);
    expect(range.grows).toBe(true);
    expect(range.wanted()).toEqual({
      from: at(start),
      length: at(now) - at(start),
      reach: at(now) - at(start) + PATIENCE,
    });
    expect(iso(range.now().from.valueOf())).toBe(start);
    expect(iso(range.streamed().from.valueOf())).toBe(iso(at(start) - 2 * PATIENCE)); // with room to grow
    expect(iso(range.streamed().to.valueOf())).toBe(now);
    expect(range.streamed().raw).toEqual({ from, to: 'now' });
  });

  it('goes with now, if it has nothing of its own', () => {
    jest.setSystemTime(at('2026-03-05T10:00:59.000Z'));
    const range = rangeOf({ from: 'now-5m', to: 'now' });
    expect(range.grows).toBe(false);
    expect(range.wanted()).toEqual({ length: 300_000, reach: 300_000 });
    jest.advanceTimersByTime(3000);
    expect(iso(range.streamed().from.valueOf())).toBe('2026-03-05T09:56:02.000Z');
  });

  it('stays when it is a time, and does not change that time', () => {
    jest.setSystemTime(at('2026-03-05T10:00:00.000Z'));
    const from = dateTime(at('2026-03-05T09:00:00.000Z'));
    const range = rangeOf({ from, to: 'now' });
    range.streamed();
    expect(range.wanted()).toMatchObject({ from: at('2026-03-05T09:00:00.000Z') });
    expect(iso(from.valueOf())).toBe('2026-03-05T09:00:00.000Z');
  });

  it('is that of the fiscal year which the dashboard has', () => {
    jest.setSystemTime(at('2026-03-05T10:00:00.000Z'));
    const range = rangeOf({ from: 'now/fy', to: 'now' }, 'utc', panelUnder({}, { fiscalYearStartMonth: 1 }));
    expect(iso(range.wanted().from!)).toBe('2026-02-01T00:00:00.000Z');
  });
});

describe("a dashboard's Now delay", () => {
  const delayed = { UNSAFE_nowDelay: '1m' };
  const wanted = (...ranges: object[]) => rangeOf({ from: 'now-5m', to: 'now' }, 'utc', panelUnder(...ranges)).wanted();

  it('ends the range earlier, but not what the stream is asked for', () => {
    jest.setSystemTime(at('2026-03-05T10:00:00.000Z'));
    const range = rangeOf({ from: 'now-5m', to: 'now' }, 'utc', panelUnder({}, delayed));
    expect(iso(range.now().to.valueOf())).toBe('2026-03-05T09:59:00.000Z');
    expect(range.now().raw).toEqual({ from: 'now-5m', to: 'now' });
    expect(iso(range.streamed().to.valueOf())).toBe('2026-03-05T10:00:00.000Z');
    expect(range.wanted()).toEqual({ length: 240_000, reach: 300_000, to: at('2026-03-05T09:59:00.000Z') });
  });

  it('is ignored by a panel with a range of its own', () => {
    expect(wanted({ timeFrom: '5m' }, delayed)).toEqual({ length: 300_000, reach: 300_000 });
    expect(wanted({ compareWith: '' }, delayed)).toMatchObject({ length: 240_000 });
  });
});

// Grafana reads the clock for each end of a range.
it('does not reach further back than it is long while the clock goes on', () => {
  jest.setSystemTime(at('2026-03-05T10:00:00.000Z'));
  const clock = jest.spyOn(Date, 'now').mockImplementation(() => {
    jest.advanceTimersByTime(1);
    return new Date().getTime();
  });
  try {
    const { reach, length } = rangeOf({ from: 'now-1h', to: 'now' }).wanted();
    expect(reach).toBeLessThanOrEqual(length);
  } finally {
    clock.mockRestore();
  }
});
