import { DataQueryRequest } from '@grafana/data';

/** The little that is used of a scene object of Grafana's dashboards. */
interface SceneNode {
  parent?: SceneNode;
  state?: { $timeRange?: { state: TimeRangeState; getTimeZone?(): string } };
  forEachChild?(visit: (child: SceneNode) => void): void;
  /** Of a query runner: whether its panel is within sight, and whether another panel shows its rows, too. */
  _isInView?: boolean;
  _bypassIsInView?: boolean;
  /** Of a time range, or a control, that compares with another time. */
  getExtraQueries?(request: DataQueryRequest): unknown[];
}

interface TimeRangeState extends TimeSettings {
  /** Of a panel with a range of its own. */
  timeFrom?: string;
  UNSAFE_nowDelay?: string;
}

/** What a dashboard's time range depends on beside its raw form. */
export interface TimeSettings {
  /** How far before now a range ends that says `now`, such as `1m`. */
  nowDelay?: string;
  fiscalYearStartMonth?: number;
}

type Request = Pick<DataQueryRequest, 'scopedVars'>;

const runnerOf = ({ scopedVars }: Request) => scopedVars.__sceneObject?.value?.valueOf() as SceneNode | undefined;

/**
 * Whether the panel compares with another time. The request itself does not tell, so this asks what Grafana's query
 * runner asks: the panel and what it is part of, for further queries. It gets the answers of all of them together, and
 * only when each has completed.
 */
export function isCompared(request: DataQueryRequest): boolean {
  const addsQueries = (object: SceneNode) => Boolean(object.getExtraQueries?.(request).length);
  for (let node = runnerOf(request)?.parent; node; node = node.parent) {
    const around = [node];
    node.forEachChild?.((child) => around.push(child));
    if (around.some(addsQueries)) {
      return true;
    }
  }
  return false;
}

/** The time zone of the dashboard that a request comes from, as Grafana names it. */
export function timeZoneOf(request: Request): string | undefined {
  for (let node = runnerOf(request); node; node = node.parent) {
    const { $timeRange } = node.state ?? {};
    if ($timeRange) {
      return $timeRange.getTimeZone?.();
    }
  }
  return undefined;
}

/**
 * Whether the panel is so far away on the page that nobody sees it. Its query runner knows, and asks nothing meanwhile;
 * this is not part of what scenes promise, and without it a panel counts as seen.
 */
export function isOutOfSight(request: Request): boolean {
  const runner = runnerOf(request);
  return runner?._isInView === false && !runner._bypassIsInView;
}

/**
 * The time settings of the dashboard that a request comes from. They are nowhere in the request. A panel with a range of
 * its own goes by none of them.
 */
export function timeSettingsOf(request: Request): TimeSettings {
  for (let node = runnerOf(request); node; node = node.parent) {
    const { timeFrom, UNSAFE_nowDelay, fiscalYearStartMonth }: TimeRangeState = node.state?.$timeRange?.state ?? {};
    if (timeFrom || UNSAFE_nowDelay || fiscalYearStartMonth !== undefined) {
      return timeFrom ? {} : { nowDelay: UNSAFE_nowDelay, fiscalYearStartMonth };
    }
  }
  return {};
}
