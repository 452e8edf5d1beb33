import { DataQueryRequest, dateTime, rangeUtil, TimeRange } from '@grafana/data';
import { Wanted } from './exact';
import { TimeSettings, timeSettingsOf } from './scenes';

/**
 * The range of a request as a function of time. What Grafana hands over is the range at the time of loading (in the
 * panel editor an even older one), and only `raw` says what is meant.
 */
export class LiveRange {
  /** Whether the start stays where it is for a while, as that of "today so far" does, so that the range grows. */
  readonly grows: boolean;
  private readonly settings: TimeSettings;

  /** @param patience - how long an answer may take, in milliseconds */
  constructor(
    private readonly request: Pick<DataQueryRequest, 'range' | 'timezone' | 'scopedVars'>,
    private readonly patience: number,
  ) {
    const { from } = request.range.raw;
    this.grows = typeof from !== 'string' || !from.startsWith('now') || from.includes('/');
    this.settings = timeSettingsOf(request);
  }

  /** The range now, as a refresh would have it. */
  now(): TimeRange {
    const { nowDelay } = this.settings;
    return nowDelay ? this.until(`now-${nowDelay}`) : this.until('now');
  }

  /**
   * The range that a stream is asked for. It ends at now, for the back end answers with the newest rows. One that grows
   * has room until a longer one is asked for, and until that is answered.
   */
  streamed(): TimeRange {
    const range = this.until('now');
    return this.grows ? { ...range, from: dateTime(range.from.valueOf() - 2 * this.patience) } : range;
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
      // By the time that a longer window could be there.
      reach: now - from + (this.grows ? this.patience : 0),
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
