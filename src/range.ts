import { DataQueryRequest, dateTime, rangeUtil, TimeRange } from '@grafana/data';
import { Wanted } from './exact';
import { TimeSettings, timeSettingsOf } from './scenes';

/**
 * The range of a request as a function of time. Grafana's request has the range as it was when the panel was loaded (in
 * the panel editor an even older one). Only `raw` says which range is meant.
 */
export class LiveRange {
  /** Whether the start stays fixed for a while, as in "today so far", so that the range grows. */
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
   * The range that a stream is asked for. It ends at now, because the back end answers with the newest rows. A range
   * that grows is asked for with room: `patience` until a longer range is asked for, and another `patience` until that
   * is answered.
   */
  streamed(): TimeRange {
    const range = this.until('now');
    return this.grows ? { ...range, from: dateTime(range.from.valueOf() - 2 * this.patience) } : range;
  }

  /** Which rows of a stream belong to the range now. */
  wanted(): Wanted {
    // Read the clock before `this.now()` does. If it were read a millisecond later, `reach` would be a millisecond
    // longer than the window of a range that does not grow.
    const now = Date.now();
    const range = this.now();
    const [from, to] = [range.from.valueOf(), range.to.valueOf()];
    return {
      length: to - from, // does not depend on the browser's clock, which may be wrong
      // A range that grows asks for a longer window early: this is its length when the answer has come.
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
