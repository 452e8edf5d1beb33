import {
  type AdHocVariableFilter,
  type DataFrame,
  type DataQueryRequest,
  type DataQueryResponse,
  type DataSourceInstanceSettings,
  LoadingState,
  type ScopedVars,
  type TestDataSourceResponse,
} from '@grafana/data';
import {
  DataSourceWithBackend,
  getDataSourceSrv,
  HealthCheckError,
  HealthStatus,
  getTemplateSrv,
  StreamOptionsProvider,
} from '@grafana/runtime';
import { omit } from 'lodash';
import { catchError, defer, from, map, Observable, of, switchMap } from 'rxjs';
import { annotationsOf, answerAnnotation, isAnnotation } from './annotations';
import { guard } from './guard';
import { apart } from './legends';
import { combined, isLive, openStream, repeated, untilRefused, wantsStream } from './live';
import { newestOf } from './newest';
import { nonces } from './nonces';
import { LiveRange } from './range';
import { dependOnFilters, filtersOf, isOutOfSight, timeZoneOf } from './scenes';
import { AnySource, foreignTo, sourceOf } from './sources';
import type { Ask, Options, Query } from './types';
import { ianaName } from './zones';

export class DataSource extends DataSourceWithBackend<Query, Options> {
  readonly source: AnySource;
  /** How far apart samples usually are, in milliseconds. */
  readonly sampleInterval: number;
  /** How long an answer may take, in milliseconds. */
  private readonly patience: number;

  constructor(private readonly settings: DataSourceInstanceSettings<Options>) {
    super(settings);
    const { jsonData } = settings;
    this.source = sourceOf(jsonData);
    this.sampleInterval = this.source.sampleInterval?.(jsonData) ?? 1000;
    // A little longer than the back end waits for the source, so that the user sees the back end's error. Without a
    // limit, a query on a dead connection would block a panel for ever.
    const timeout = Math.max((jsonData.timeout || 30) * 1000, this.source.timeout?.(jsonData) ?? 0);
    // What was saved as it was typed is refused by the back end, at once.
    this.patience = (Number.isFinite(timeout) ? timeout : 30_000) + 5_000;
    this.annotations = annotationsOf(this);
    Object.assign(this, this.source.offers?.(this));
  }

  override query(request: DataQueryRequest<Query>): Observable<DataQueryResponse> {
    // Only the guard may set these fields, so drop those that a dashboard has saved.
    const timezone = ianaName(request.timezone);
    const targets = request.targets.map(
      (target) => ({ timezone, ...omit(target, ['live', 'polled', 'nonce', 'resync']) }) as Query,
    );
    const cleaned = { ...request, targets };
    if (isAnnotation(request)) {
      return answerAnnotation(cleaned, this.settings.jsonData.maxRows || 50_000, (stepped) => this.loaded(stepped));
    }
    if (targets.some(({ from: other }) => other?.uid)) {
      const ids = requestIds(cleaned);
      return combined(targets.map((target, place) => this.answer({ ...cleaned, requestId: ids[place]! }, target))).pipe(
        map(apart(targets)),
      );
    }
    return this.loaded(cleaned);
  }

  private loaded(request: DataQueryRequest<Query>): Observable<DataQueryResponse> {
    const loading = this.source.load?.(request);
    const answers = loading ? from(loading).pipe(switchMap(() => this.answers(request))) : this.answers(request);
    return request.liveStreaming ? answers.pipe(repeated) : answers;
  }

  /** The answer to one of several queries that go to different data sources. Each data source guards its own. */
  private answer(request: DataQueryRequest<Query>, target: Query): Observable<DataQueryResponse> {
    const uid = target.from?.uid;
    const alone = (datasource: DataSource) => ({
      ...request,
      ...(datasource.uid !== this.uid && { filters: filtersOf(request, datasource) }),
      // Grafana sends a query to the data source that it names, which by now is that of the panel.
      targets: [{ ...omit(target, 'from'), datasource: datasource.getRef() } as Query],
    });
    if (!uid) {
      return this.query(alone(this));
    }
    return from(this.other(uid, request.scopedVars)).pipe(
      switchMap((other) => {
        dependOnFilters(request, other);
        const asked = alone(other);
        return other.filterQuery(asked.targets[0]!) ? other.query(asked) : of({ data: [] });
      }),
      catchError((error: Error) => {
        const { refId } = target;
        return of({ state: LoadingState.Error, data: [], error: { refId, message: error.message } });
      }),
    );
  }

  /** The Continuum data source that a query is to be answered by. */
  async other(uid: string, scopedVars?: ScopedVars): Promise<DataSource> {
    const name = getTemplateSrv().replace(uid, scopedVars);
    const found = await getDataSourceSrv()
      .get(name)
      .catch(() => undefined);
    if (!found) {
      throw new Error(`There is no data source “${name}”: choose another one under “From”.`);
    }
    if (!(found instanceof DataSource)) {
      throw new Error(`“${found.name}” is no Continuum data source: choose one under “From”.`);
    }
    return found;
  }

  /**
   * A live request becomes one inner query per target, so that a target in doubt is asked again by itself. All targets
   * have one answer: with an answer each, the order of the series would change. All other requests are left to Grafana.
   */
  private answers(request: DataQueryRequest<Query>): Observable<DataQueryResponse> {
    if (!isLive(request)) {
      return defer(() => super.query(request)).pipe(map(apart(request.targets))); // interpolation may throw
    }
    const range = new LiveRange(request, this.patience);
    const ids = requestIds(request);
    const answers = request.targets.map((target, place) => {
      const query = (ask?: Ask) =>
        super.query({
          ...request,
          requestId: ids[place]!,
          range: ask ? range.streamed() : range.now(),
          targets: [{ ...target, ...(ask && { live: true, ...ask }) }],
        });
      const panel = {
        refId: target.refId,
        nonces,
        key: this.keyOf(target, request),
        wanted: () => range.wanted(),
        grows: range.grows,
        patience: this.patience,
        isOutOfSight: () => isOutOfSight(request),
      };
      if (!wantsStream(target)) {
        return defer(() => query());
      }
      const rows = guard((ask) => query(ask).pipe(untilRefused), panel);
      return target.format === 'newest' ? rows.pipe(map((answer) => this.newest(answer, target, request))) : rows;
    });
    return combined(answers).pipe(map(apart(request.targets)));
  }

  /** The table of what a guard shows: it knows rows alone. The back end makes that of all other answers. */
  private newest(answer: DataQueryResponse, { legend }: Query, { scopedVars }: DataQueryRequest<Query>) {
    const name = legend && getTemplateSrv().replace(legend, scopedVars);
    return { ...answer, data: answer.data.map((frame: DataFrame) => newestOf(frame, name)) };
  }

  /** Called by Grafana for an answer that names a channel, just before it subscribes. */
  override streamOptionsProvider: StreamOptionsProvider<Query> = (_request, frame) => openStream(frame);

  /** As Grafana's own, which drops the details of a data source that works. */
  override async testDatasource(): Promise<TestDataSourceResponse> {
    const { status, message, details } = await this.callHealthCheck();
    if (status === HealthStatus.OK) {
      return { status: 'success', message, details };
    }
    const error = new HealthCheckError(message, details);
    throw Object.assign(error, { error }); // Grafana looks for the details in `error`
  }

  override getDefaultQuery(): Partial<Query> {
    return this.source.defaultQuery(this.settings.jsonData);
  }

  override filterQuery(query: Query): boolean {
    if (query.hide || query.from?.uid) {
      return !query.hide;
    }
    // A query that was made for another source is run too, so that the panel shows what is wrong.
    return foreignTo(this.source, query) !== undefined || this.source.isComplete(query);
  }

  override getQueryDisplayText(query: Query): string {
    return (foreignTo(this.source, query) ?? this.source).text(query);
  }

  override applyTemplateVariables(query: Query, scopedVars: ScopedVars, filters: AdHocVariableFilter[] = []): Query {
    const text = (value: string) => getTemplateSrv().replace(value, scopedVars);
    if (query.from?.uid) {
      return this.interpolatedByOther(query, text(query.from.uid), scopedVars, filters);
    }
    const foreign = foreignTo(this.source, query);
    if (foreign) {
      throw refusal(
        `${query.refId}: this query was made for another source (${foreign.label}). Open the panel's editor, which begins a new one for “${this.name}”.`,
      );
    }
    const interpolated = this.source.interpolate(query, { text, scopedVars, filters });
    const zone = query.timezone ? undefined : timeZoneOf({ scopedVars }); // expressions do not pass through query()
    return {
      ...interpolated,
      ...(query.legend && { legend: text(query.legend) }),
      ...(zone !== undefined && { timezone: ianaName(zone) }),
    };
  }

  /** A query as the data source that answers it would interpolate it, which Explore asks for. */
  private interpolatedByOther(
    query: Query,
    uid: string,
    scopedVars: ScopedVars,
    filters: AdHocVariableFilter[],
  ): Query {
    const settings = getDataSourceSrv().getInstanceSettings(uid) as DataSourceInstanceSettings<Options> | undefined;
    if (settings?.type !== this.type) {
      return { ...query, from: { uid } }; // an error as soon as it is run
    }
    const other = new DataSource(settings);
    const its = other.uid === this.uid ? filters : filtersOf({ scopedVars, filters }, other);
    return { ...other.applyTemplateVariables(omit(query, 'from'), scopedVars, its), from: { uid } };
  }

  /** Equal for queries that may have the same rows. */
  private keyOf(target: Query, { scopedVars, intervalMs, range }: DataQueryRequest<Query>): string {
    const repeated = Object.entries(scopedVars).flatMap(([name, v]) =>
      name.startsWith('__') ? [] : [[name, v?.value]],
    );
    const rows = [omit(target, UNLIKE_ROWS), target.format === 'states'];
    return JSON.stringify([this.uid, intervalMs, range.raw, ...rows, repeated]);
  }
}

/**
 * An id for a request of each target, because Grafana cancels a request when another one starts under the same id. Not
 * every caller gives an id.
 */
function requestIds({ requestId, targets }: DataQueryRequest<Query>): Array<string | undefined> {
  const refIds = targets.map(({ refId }) => refId);
  return refIds.map((refId, place) => {
    const isFirst = refIds.indexOf(refId) === place;
    return requestId && `${requestId}-${refId}${isFirst ? '' : `-${place}`}`;
  });
}

/** What queries with the same rows may differ in. */
const UNLIKE_ROWS = ['refId', 'key', 'datasource', 'format', 'timezone'] as const;

/** An error that the guard does not retry. */
const refusal = (message: string) => Object.assign(new Error(message), { status: 400 });
