import { DataSourceJsonData } from '@grafana/data';
import { DataQuery } from '@grafana/schema';

export const SHAPES = ['walk', 'sine', 'square', 'sawtooth', 'noise'];

/** What a query says. A number that depends on a template variable is the text that holds it, such as `$upper`. */
interface Fields {
  withStreaming: boolean;
  shape: string;
  lowerLimit: number | string;
  upperLimit: number | string;
  tickInterval: number | string;
  legend?: string;
}

export const AGGREGATIONS = ['last', 'avg', 'min', 'max', 'sum', 'count'];

/** What a query of a metrics API says. */
interface MetricFields {
  metricName: string;
  queryText?: string;
  aggregation: string;
  /** In milliseconds. */
  minStep: number | string;
}

export type EditorMode = 'builder' | 'code';

/** A query as saved: fields may be missing, if only because they are newer than the dashboard. */
export interface Query extends DataQuery, Partial<Fields>, Partial<MetricFields> {
  /** PromQL, for a data source that is asked in it. */
  expr?: string;
  /** How the expression is shown for editing; by default as the builder can show it. */
  editorMode?: EditorMode;
}

export const DEFAULT_QUERY: Fields = {
  withStreaming: true,
  shape: 'walk',
  lowerLimit: 0,
  upperLimit: 100,
  tickInterval: 1000,
};

export const DEFAULT_METRIC_QUERY: MetricFields = { metricName: '', aggregation: 'last', minStep: 1000 };

/** Why the guard asks again. The back end counts them by these names. */
export type Resync = 'hole' | 'short' | 'fields' | 'silence' | 'refused' | 'range' | 'failure';

/** What the guard adds to a query on the wire. It is never saved. */
export interface Ask {
  /** Whether a stream is wanted. */
  live: boolean;
  nonce: number;
  resync?: Resync;
}

/** `meta.custom` of an answer that names a channel. All but `data` are in milliseconds. */
export interface Terms {
  /** What SubscribeStream and RunStream are to be given, as it is. */
  data: string;
  step: number;
  window: number;
  /** The promise: from this grid time on no row is missing. */
  first: number;
}

export type SourceName = 'recorder' | 'prometheus' | 'metrics-api' | 'signal';

/** The source of a data source whose settings name none. */
export const DEFAULT_SOURCE: SourceName = 'recorder';

/** The data source's settings. Times are in milliseconds; what is absent has the back end's default. */
export interface Options extends DataSourceJsonData {
  source?: SourceName;
  minStep?: number;
  maxStreams?: number;
  maxStreamsPerUser?: number;
  maxRows?: number;
  recorder?: RecorderOptions;
  prometheus?: PrometheusOptions;
  metricsApi?: MetricsAPIOptions;

  // Of HTTP, under the names that Grafana's plugin SDK reads.
  /** In seconds. */
  timeout?: number;
  tlsAuth?: boolean;
  tlsAuthWithCACert?: boolean;
  tlsSkipVerify?: boolean;
  serverName?: string;
  /** Numbered from 1 without a gap; the values are secrets. */
  [header: `httpHeaderName${number}`]: string | undefined;
}

export interface RecorderOptions {
  retention?: number;
  maxBytes?: number;
  outOfOrder?: number;
  interval?: number;
  lookback?: number;
  maxWait?: number;
  maxAhead?: number;
  diskLow?: number;
  diskCritical?: number;
  idleStop?: number;
  noHost?: boolean;
  hostInterval?: number;
  inputs?: Input[];
}

export interface PrometheusOptions {
  httpMethod?: 'POST' | 'GET';
  delay?: number;
  queryTimeout?: number;
  interval?: number;
  lookback?: number;
}

export interface MetricsAPIOptions {
  endpoint?: string;
  keyHeader?: string;
  delay?: number;
}

/** What fills a recorder, besides the metrics of this machine. */
export type Input = MQTTInput | NATSInput | WebSocketInput | PushInput;

export interface MQTTInput {
  type: 'mqtt';
  name: string;
  url?: string;
  version?: '5' | '3.1.1';
  user?: string;
  clientId?: string;
  topics?: string[];
  qos?: 0 | 1 | 2;
  serverName?: string;
  skipVerify?: boolean;
  rules?: Rules;
}

export interface NATSInput {
  type: 'nats';
  name: string;
  url?: string;
  user?: string;
  subjects?: string[];
  stream?: string;
  serverName?: string;
  skipVerify?: boolean;
  rules?: Rules;
}

export interface WebSocketInput {
  type: 'websocket';
  name: string;
  url?: string;
  send?: string;
  pingInterval?: number;
  maxBytes?: number;
  skipVerify?: boolean;
  rules?: Rules;
}

export interface PushInput {
  type: 'push';
  name: string;
  formats?: PushFormat[];
  maxBytes?: number;
  maxSeries?: number;
  samplesPerSecond?: number;
}

export type PushFormat = 'influx' | 'prometheus';

/** How messages become samples. */
export interface Rules {
  format?: 'auto' | 'number' | 'json' | 'influx';
  pattern?: string;
  metric?: string;
  timeKey?: string;
  timeUnit?: 'auto' | 's' | 'ms' | 'us' | 'ns';
  labels?: Record<string, string>;
  maxSeries?: number;
}

/** What Grafana keeps encrypted and never gives back. */
export type Secrets = Record<string, string>;
