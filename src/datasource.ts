import {
  AdHocVariableFilter,
  DataQueryRequest,
  DataQueryResponse,
  DataSourceApi,
  DataSourceGetTagKeysOptions,
  DataSourceGetTagValuesOptions,
  DataSourceInstanceSettings,
  MetricFindValue,
  ScopedVars,
} from '@grafana/data';
import { DataSourceWithBackend, getTemplateSrv, StreamOptionsProvider } from '@grafana/runtime';
import { DataQuery } from '@grafana/schema';
import { omit } from 'lodash';
import { defer, Observable } from 'rxjs';
import { guard } from './guard';
import { combined, isLive, openStream, untilRefused, wantsStream } from './live';
import { Names } from './promql/names';
import { nonces } from './nonces';
import { inPromQL, matcherOf, selector, withFilters } from './promql/promql';
import { LiveRange } from './range';
import { Ask, DEFAULT_METRIC_QUERY, DEFAULT_QUERY, DEFAULT_SOURCE, Options, Query, SourceName } from './types';
import { variablesOf } from './promql/variables';

export class DataSource extends DataSourceWithBackend<Query, Options> {
  readonly source: SourceName;
  /** How far apart samples usually are, in milliseconds. */
  readonly sampleInterval: number;
  /** How long an answer may take, in milliseconds. */
  private readonly patience: number;
  /** Whether a new query can ask for the metrics of Grafana's own machine. */
  private readonly hasHost: boolean;

  constructor(settings: DataSourceInstanceSettings<Options>) {
    super(settings);
    const { source = DEFAULT_SOURCE, recorder, prometheus } = settings.jsonData;
    this.source = source;
    this.sampleInterval =
      source === 'prometheus'
        ? (prometheus?.interval ?? 15_000)
        : (recorder?.interval ?? recorder?.hostInterval ?? 1000);
    this.patience = patienceOf(settings.jsonData);
    this.hasHost = source === 'recorder' && !recorder?.noHost;
    if (this.isPromQL) {
      // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- one class of the union
      this.variables = variablesOf(this);
      // Grafana offers filters and the import of queries where these are.
      this.getTagKeys = (options) => this.tagKeys(options);
      this.getTagValues = (options) => this.tagValues(options);
      this.importQueries = (queries, origin) => Promise.resolve(fromPrometheus(queries, origin));
    }
  }

  get isPromQL(): boolean {
    return this.source === 'recorder' || this.source === 'prometheus';
  }

  /**
   * A live request becomes one inner query per target, so that one in doubt is asked again by itself, with one answer
   * for all of them: answers of their own would change the order of the series. All other requests are Grafana's.
   */
  override query(request: DataQueryRequest<Query>): Observable<DataQueryResponse> {
    // Only the guard may say what it says on the wire, whatever a dashboard has saved.
    const targets = request.targets.map((target) => omit(target, ['live', 'nonce', 'resync']) as Query);
    if (!isLive(request)) {
      return super.query({ ...request, targets });
    }
    const range = new LiveRange(request);
    const answers = targets.map((target) => {
      const query = (ask?: Ask) =>
        super.query({
          ...request,
          // Grafana cancels a request when another one starts under the same id.
          requestId: request.requestId && `${request.requestId}-${target.refId}`,
          range: ask?.live ? range.streamed() : range.now(),
          targets: [{ ...target, ...ask }],
        });
      const panel = {
        refId: target.refId,
        nonces,
        key: this.keyOf(target, request),
        wanted: () => range.wanted(),
        grows: range.grows,
        patience: this.patience,
      };
      return wantsStream(target) ? guard((ask) => query(ask).pipe(untilRefused), panel) : defer(() => query());
    });
    return combined(answers);
  }

  /** Called by Grafana for an answer that names a channel, just before it subscribes. */
  override streamOptionsProvider: StreamOptionsProvider<Query> = (_request, frame) => openStream(frame);

  override getDefaultQuery(): Partial<Query> {
    if (this.source === 'metrics-api') {
      return { withStreaming: true, metricName: '' };
    }
    return this.source === 'signal' ? DEFAULT_QUERY : { withStreaming: true, expr: this.hasHost ? STARTER : '' };
  }

  override filterQuery(query: Query): boolean {
    if (this.source === 'metrics-api') {
      return !query.hide && Boolean(query.metricName?.trim());
    }
    return !query.hide && (this.source === 'signal' || Boolean(query.expr?.trim()));
  }

  override getQueryDisplayText(query: Query): string {
    if (this.source === 'metrics-api') {
      const { aggregation, metricName } = { ...DEFAULT_METRIC_QUERY, ...query };
      return `${aggregation} of ${metricName}`;
    }
    if (this.source !== 'signal') {
      return query.expr ?? '';
    }
    const { shape, lowerLimit, upperLimit, tickInterval } = { ...DEFAULT_QUERY, ...query };
    return `${shape} from ${lowerLimit} to ${upperLimit} every ${tickInterval} ms`;
  }

  override applyTemplateVariables(query: Query, scopedVars: ScopedVars, filters: AdHocVariableFilter[] = []): Query {
    const text = (value: string) => getTemplateSrv().replace(value, scopedVars);
    const number = (value: number | string) => toNumber(typeof value === 'string' ? text(value) : value);
    const legend = query.legend && { legend: text(query.legend) };
    if (this.source === 'metrics-api') {
      const { metricName, queryText, aggregation, minStep } = { ...DEFAULT_METRIC_QUERY, ...query };
      return {
        ...query,
        metricName: text(metricName),
        ...(queryText && { queryText: text(queryText) }),
        aggregation: text(aggregation),
        minStep: number(minStep),
        ...legend,
      };
    }
    if (this.source !== 'signal') {
      const expr = getTemplateSrv().replace(query.expr, { ...scopedVars, ...LATER }, inPromQL);
      return { ...query, ...legend, expr: withFilters(expr, filters) };
    }
    const q = { ...DEFAULT_QUERY, ...query };
    return {
      ...q,
      shape: text(q.shape),
      lowerLimit: number(q.lowerLimit),
      upperLimit: number(q.upperLimit),
      tickInterval: number(q.tickInterval),
      ...legend,
    };
  }

  /** The same for queries that may have the same rows. */
  private keyOf(target: Query, { scopedVars, intervalMs }: DataQueryRequest<Query>): string {
    const repeated = Object.entries(scopedVars).flatMap(([name, v]) =>
      name.startsWith('__') ? [] : [[name, v?.value]],
    );
    return JSON.stringify([this.uid, intervalMs, omit(target, ['refId', 'key', 'datasource']), repeated]);
  }

  private async tagKeys({ filters, timeRange }: Partial<DataSourceGetTagKeysOptions> = {}): Promise<MetricFindValue[]> {
    return asTags(await new Names(this, timeRange).labels(selectorOf(filters)));
  }

  private async tagValues({ key, filters, timeRange }: DataSourceGetTagValuesOptions): Promise<MetricFindValue[]> {
    const others = filters.filter((filter) => filter.key !== key);
    return asTags(await new Names(this, timeRange).values(key, selectorOf(others)));
  }
}

const asTags = (texts: string[]) => texts.map((text): MetricFindValue => ({ text }));
const selectorOf = (filters: AdHocVariableFilter[] = []) => selector('', filters.map(matcherOf)) || undefined;

/**
 * How long an answer may take under the settings: a little more than the back end gives the source, so that its error is
 * what the user reads. A query on a dead connection would otherwise hold a panel for ever.
 */
function patienceOf({ timeout = 30, prometheus }: Options): number {
  return Math.max(timeout * 1000, prometheus?.queryTimeout ?? 0) + 5_000;
}

/** What every machine has, so that a new query shows something at once. */
const STARTER = 'sum by (mode) (rate(node_cpu_seconds_total{mode!="idle"}[$__rate_interval]))';

/** Queries of Grafana's Prometheus data source, and of those that are like it, as ours. */
function fromPrometheus(queries: DataQuery[], { type }: DataSourceApi): Query[] {
  return /prometheus|victoriametrics-(metrics-)?datasource|mimir/i.test(type)
    ? queries.map((query) => {
        const { refId, hide, expr, legendFormat } = query as DataQuery & { expr?: string; legendFormat?: string };
        const legend = legendFormat === '__auto' ? undefined : legendFormat;
        return { refId, hide, withStreaming: true, expr: expr ?? '', ...(legend && { legend }) };
      })
    : [];
}

/** The text as a number if it is one, or as it is: the back end then says which field is wrong. */
function toNumber(value: number | string): number | string {
  return typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value)) ? Number(value) : value;
}

/** What the back end expands, because it depends on the step and the range, and alert rules have no front end. */
const LATER: ScopedVars = Object.fromEntries(
  ['__interval', '__interval_ms', '__rate_interval', '__rate_interval_ms', '__range', '__range_ms'].map((name) => [
    name,
    { text: `$${name}`, value: `$${name}` },
  ]),
);
