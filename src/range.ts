import { DataQueryRequest, dateTime, rangeUtil, TimeRange } from '@grafana/data';
import { Wanted } from './exact';
import { TimeSettings, timeSettingsOf } from './scenes';

/** A range with a start of its own gets this much more than it has, so that it does not outgrow its window at once. */
const ROOM = 60_000;

/**
 * The range of a request as a function of time. What Grafana hands over is the range at the time of loading (in the
 * panel editor an even older one), and only `raw` says what is meant.
 */
export class LiveRange {
  /** Whether the start stays where it is for a while, as that of "today so far" does, so that the range grows. */
  readonly grows: boolean;
  private readonly settings: TimeSettings;

  constructor(private readonly request: Pick<DataQueryRequest, 'range' | 'timezone' | 'scopedVars'>) {
    const { from } = request.range.raw;
    this.grows = typeof from !== 'string' || !from.startsWith('now') || from.includes('/');
    this.settings = timeSettingsOf(request);
  }

  /** The range now, as a refresh would have it. */
  now(): TimeRange {
    const { nowDelay } = this.settings;
    return nowDelay ? this.until(`now-${nowDelay}`) : this.until('now');
  }

  /** The range that a stream is asked for. It ends at now, for the back end answers with the newest rows. */
  streamed(): TimeRange {
    const range = this.until('now');
    return this.grows ? { ...range, from: dateTime(range.from.valueOf() - ROOM) } : range;
  }

  /** What the range has now of a stream's rows. */
  wanted(): Wanted {
    // Before the range is: a millisecond between two readings of the clock would make a range that does not grow one
    // millisecond longer than its window.
    const now = Date.now();
    const range = this.now();
    const [from, to] = [range.from.valueOf(), range.to.valueOf()];
    return {
      length: to - from, // whatever the browser's clock says, which may be wrong
      reach: now - from,
      ...(this.grows && { from }),
      ...(this.settings.nowDelay && { to }),
    };
  }

  private until(to: string): TimeRange {
    const { range, timezone } = this.request;
    const raw = { ...range.raw, to };
    return {
      ...rangeUtil.convertRawToRange(raw, timezone, this.settings.fiscalYearStartMonth),
      raw: range.raw,
    };
  }
}
