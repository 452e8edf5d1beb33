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

/** A query as saved: fields may be missing, if only because they are newer than the dashboard. */
export interface Query extends DataQuery, Partial<Fields> {
  /** PromQL, for a data source that is asked in it. All other fields but the streaming and the legend are the signal's. */
  expr?: string;
}

export const DEFAULT_QUERY: Fields = {
  withStreaming: true,
  shape: 'walk',
  lowerLimit: 0,
  upperLimit: 100,
  tickInterval: 1000,
};

/** Why the guard asks again. The back end counts them by these names. */
export type Resync = 'hole' | 'short' | 'fields' | 'silence' | 'refused' | 'failure';

/** What the guard adds to a query on the wire. It is never saved. */
export interface Ask {
  live: true;
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

export type SourceName = 'signal' | 'recorder';

export interface Options extends DataSourceJsonData {
  source?: SourceName;
  minStep?: number;
  maxStreams?: number;
  maxStreamsPerUser?: number;
  maxRows?: number;
}
