import {
  AdHocVariableFilter,
  DataFrame,
  DataQueryRequest,
  DataQueryResponse,
  DataSourceApi,
  DataSourceGetTagKeysOptions,
  DataSourceGetTagValuesOptions,
  DataSourceInstanceSettings,
  isLiveChannelStatusEvent,
  LiveChannelAddress,
  LiveChannelConnectionState,
  LiveChannelScope,
  LoadingState,
  MetricFindValue,
  rangeUtil,
  ScopedVars,
} from '@grafana/data';
import {
  config,
  DataSourceWithBackend,
  getGrafanaLiveSrv,
  getTemplateSrv,
  isExpressionReference,
  StreamingFrameAction,
  StreamOptionsProvider,
} from '@grafana/runtime';
import { DataQuery } from '@grafana/schema';
import { omit } from 'lodash';
import { combineLatest, connect, defer, EMPTY, filter, map, merge, Observable, switchMap, take, takeWhile } from 'rxjs';
import { guard, nonceOf, noted } from './guard';
import { Names } from './names';
import { inPromQL, matcherOf, selector, withFilters } from './promql';
import { isCompared } from './scenes';
import { Ask, DEFAULT_METRIC_QUERY, DEFAULT_QUERY, DEFAULT_SOURCE, Options, Query, SourceName, Terms } from './types';
import { variablesOf } from './variables';

export class DataSource extends DataSourceWithBackend<Query, Options> {
  readonly source: SourceName;
  /** How far apart samples usually are, in milliseconds. */
  readonly sampleInterval: number;
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
    const answers = targets.map((target) => {
      const query = (ask?: Ask) =>
        super.query({
          ...request,
          // Grafana cancels a request when another one starts under the same id.
          requestId: request.requestId && `${request.requestId}-${target.refId}`,
          // Taken anew: what Grafana hands over can be old (in the panel editor) and becomes so while the guard runs.
          range: rangeUtil.convertRawToRange(request.range.raw, request.timezone),
          targets: [{ ...target, ...ask }],
        });
      return wantsStream(target)
        ? guard((ask) => query(ask).pipe(untilRefused), target.refId, nonceOf(this.uid))
        : defer(() => query());
    });
    return combineLatest(answers).pipe(map(combine));
  }

  /**
   * Called by Grafana for an answer that names a channel, just before it subscribes. An exception here would reach the
   * user as "No data" without a word.
   */
  override streamOptionsProvider: StreamOptionsProvider<Query> = (_request, frame) => {
    const { data, step = 1000, window = 0 }: Partial<Terms> = frame.meta?.custom ?? {};
    try {
      openChannel(frame.meta?.channel ?? '', data);
    } catch (error) {
      console.error('Continuum: the channel could not be opened with its data', error);
    }
    return {
      action: StreamingFrameAction.Append,
      // Every viewer's join repeats the overlap to all, so that far more rows come in than are shown.
      maxLength: (4 * window) / step + 10_000,
      // A little more than is shown, for repeats make the buffer's cut by age inexact.
      maxDelta: window + 30_000,
    };
  };

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

const wantsStream = (target: Query) => target.withStreaming !== false;

/** Whether a stream is wanted and whoever asks can live with an answer that never ends. */
function isLive(request: DataQueryRequest<Query>): boolean {
  return (
    request.targets.some(wantsStream) &&
    // The range that Grafana's own axis slides by. In a time comparison it differs from rangeRaw, which stays relative.
    request.range.raw.to === 'now' &&
    config.liveEnabled &&
    !config.publicDashboardAccessToken &&
    // Mixed panels, time comparisons and expressions wait until every query has completed.
    !(request.requestId as string | undefined)?.startsWith('mixed-') && // not every caller gives one
    !isCompared(request) &&
    !request.targets.some((target) => isExpressionReference(target.datasource))
  );
}

/**
 * Opens a channel together with its subscription data. Grafana's own subscription, which follows at once, has no way to
 * pass them and finds the channel open instead: it lives for another 250 ms without a subscriber.
 */
function openChannel(channel: string, data?: string) {
  getGrafanaLiveSrv().getStream(addressOf(channel, data)).subscribe().unsubscribe();
}

function addressOf(channel: string, data?: string): LiveChannelAddress {
  const [, stream = '', ...path] = channel.split('/');
  const address = { scope: LiveChannelScope.DataSource, stream, path: path.join('/'), data };
  return Object.assign(address, { namespace: stream }); // what versions before 12.4 call it
}

/**
 * Ends the answers when Grafana's server refuses the subscription, as it does with one that comes over a connection of
 * more than ten minutes: then nothing will come, Grafana does not try again, and its data stream does not say so.
 */
const untilRefused = connect((answers: Observable<DataQueryResponse>) =>
  // The answer itself goes first: who gets it has to know that there was a channel.
  merge(answers, answers.pipe(take(1), switchMap(refusal))).pipe(takeWhile((answer) => answer !== undefined)),
);

function refusal({ data }: DataQueryResponse): Observable<undefined> {
  const { channel, custom } = (data[0] as DataFrame | undefined)?.meta ?? {};
  if (!channel) {
    return EMPTY;
  }
  return getGrafanaLiveSrv()
    .getStream(addressOf(channel, (custom as Partial<Terms> | undefined)?.data))
    .pipe(
      filter((event) => isLiveChannelStatusEvent(event) && event.state === LiveChannelConnectionState.Disconnected),
      map(() => undefined),
    );
}

/** One answer for all targets, in their order. */
function combine(answers: DataQueryResponse[]): DataQueryResponse {
  const data = answers.flatMap((answer) => answer.data);
  const errors = answers.flatMap((answer) => answer.errors ?? answer.error ?? []);
  const streaming = answers.some((answer) => answer.state === LoadingState.Streaming);
  if (streaming && errors.length) {
    // An error would stop the time axis of the series that do stream.
    const text = errors.map((error) => `${error.refId}: ${error.message}`).join('\n');
    return { key: 'all', state: LoadingState.Streaming, data: [noted(data[0], text), ...data.slice(1)] };
  }
  const state = errors.length ? LoadingState.Error : streaming ? LoadingState.Streaming : LoadingState.Done;
  return { key: 'all', state, data, error: errors[0], errors: errors.length ? errors : undefined };
}
