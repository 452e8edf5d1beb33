import type { AdHocVariableFilter, DataQueryRequest, DataSourceApi, ScopedVars } from '@grafana/data';
import { getTemplateSrv } from '@grafana/runtime';

/** The parts of a scene object of Grafana's dashboards that are used here. */
interface SceneNode {
  parent?: SceneNode;
  state?: {
    $timeRange?: { state: TimeRangeState; getTimeZone?(): string };
    $variables?: { state: { variables: Array<{ state: AdHocState }> } };
  };
  /** The names of the variables upon whose changes a query runner runs its queries again. */
  variableDependency?: { getNames(): Set<string>; setVariableNames?(names: string[]): void };
  forEachChild?(visit: (child: SceneNode) => void): void;
  /**
   * Only query runners have these: whether the panel is within sight, and whether another panel shows its rows, too.
   */
  _isInView?: boolean;
  _bypassIsInView?: boolean;
  /** Only time ranges and controls that can compare with another time have this. */
  getExtraQueries?(request: DataQueryRequest): unknown[];
}

type SceneFilter = AdHocVariableFilter & { nonApplicable?: boolean };

/** The state of a variable, which has filters if its type is `adhoc`. */
interface AdHocState {
  type?: string;
  name?: string;
  applyMode?: string;
  datasource?: { uid?: string } | null;
  /** Those that the dashboard always has. */
  originFilters?: SceneFilter[];
  filters?: SceneFilter[];
}

interface TimeRangeState extends TimeSettings {
  /** Set if a panel has a time range of its own. */
  timeFrom?: string;
  UNSAFE_nowDelay?: string;
}

/** The settings that a dashboard's time range depends on besides its raw form. */
export interface TimeSettings {
  /** How far before now a range that says `now` ends, such as `1m`. */
  nowDelay?: string;
  fiscalYearStartMonth?: number;
}

type Request = Pick<DataQueryRequest, 'scopedVars'>;

const runnerOf = ({ scopedVars }: Request) => scopedVars.__sceneObject?.value?.valueOf() as SceneNode | undefined;

/**
 * Whether the panel compares with another time. The request does not say so. Grafana's query runner asks the panel, its
 * ancestors and their children for extra queries, so this asks them too. If there are any, the runner passes on the
 * answers of all queries together, and only when each has completed.
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
 * Whether the panel is so far away on the page that nobody sees it. Its query runner knows this, and sends no queries
 * meanwhile. The fields are not part of the API of scenes; without them a panel counts as seen.
 */
export function isOutOfSight(request: Request): boolean {
  const runner = runnerOf(request);
  return runner?._isInView === false && !runner._bypassIsInView;
}

/**
 * The time settings of the dashboard that a request comes from. The request itself does not have them. A panel with a
 * time range of its own ignores them.
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

/**
 * The dashboard's filters for a data source. A request has only those for the data source of its panel. Throws an error
 * if the others cannot be read: without them a query would show too much.
 */
export function filtersOf(
  { scopedVars, filters: own = [] }: Pick<DataQueryRequest, 'scopedVars' | 'filters'>,
  { uid, name }: Pick<DataSourceApi, 'uid' | 'name'>,
): AdHocVariableFilter[] {
  const applied = filterSets({ scopedVars });
  if (own.length && !applied.length) {
    throw new Error(
      `The dashboard's filters for “${name}” cannot be read here: take the filters away, or make “${name}” the panel's data source.`,
    );
  }
  const its = applied.find(isFor(uid, scopedVars));
  return [...(its?.originFilters ?? []), ...(its?.filters ?? [])].filter(
    ({ key, operator, value, nonApplicable }) => key && operator && value && !nonApplicable,
  );
}

/**
 * Lets the panel's queries run again when the dashboard's filters for a data source change. By itself Grafana does so
 * for those of the panel's data source.
 */
export function dependOnFilters(request: Request, { uid }: Pick<DataSourceApi, 'uid'>) {
  const dependency = runnerOf(request)?.variableDependency;
  const { name } = filterSets(request).find(isFor(uid, request.scopedVars)) ?? {};
  if (name !== undefined && dependency && !dependency.getNames().has(name)) {
    dependency.setVariableNames?.([...dependency.getNames(), name]);
  }
}

/** The dashboard's sets of filters, each of which is for one data source. */
function filterSets(request: Request): AdHocState[] {
  const sets: AdHocState[] = [];
  for (let node = runnerOf(request); node; node = node.parent) {
    sets.push(...(node.state?.$variables?.state.variables ?? []).map(({ state }) => state));
  }
  return sets.filter(({ type, applyMode }) => type === 'adhoc' && applyMode !== 'manual');
}

const isFor =
  (uid: string, scopedVars: ScopedVars) =>
  ({ datasource }: AdHocState) =>
    getTemplateSrv().replace(datasource?.uid ?? '', scopedVars) === uid;
