import type { DataSourceJsonData } from '@grafana/data';
import type { DataQuery } from '@grafana/schema';
import type { EventOptions } from './annotations/events';
import type * as sources from './sources/all';
import type { Source } from './sources/source';

export type Format = 'newest' | 'states';

/**
 * The fields that queries of all sources have. Any of them may be missing, if only because the dashboard is older than
 * the field.
 */
export interface BaseQuery extends DataQuery {
  withStreaming?: boolean;
  legend?: string;
  /**
   * `newest` is one row per series, which has its newest value; `states` are texts over time, of queries in PromQL. By
   * default the rows of a time series.
   */
  format?: Format;
  /**
   * The IANA name of the time zone whose days and hours rows mean at steps of an hour and more. By default that of the
   * dashboard; alert rules have none.
   */
  timezone?: string;
  /**
   * Another Continuum data source that answers the query, by its uid or a variable for one. With Grafana's own Mixed
   * data source, a panel waits until every query has completed, so nothing could stream.
   */
  from?: { uid: string };
  /** How rows become events, if the query is that of an annotation. */
  event?: EventOptions;
}

type AnySource = (typeof sources)[keyof typeof sources];
type TypesOf<S> = S extends Source<infer Q, infer O> ? { query: Q; options: O } : never;

/** The intersection of all members of a union. */
type Every<U> = (U extends unknown ? (part: U) => void : never) extends (part: infer E) => void ? E : never;

/** A query of one of the sources. */
export type Query = TypesOf<AnySource>['query'];

/** The data source's settings: those of all sources, each under its own name, and what they have in common. */
export type Options = CommonOptions & Every<TypesOf<AnySource>['options']>;

/** Times are in milliseconds; what is absent has the back end's default. */
export interface CommonOptions extends DataSourceJsonData {
  /** The name of the source; see `sourceOf`. */
  source?: string;
  minStep?: number;
  maxStreams?: number;
  maxStreamsPerUser?: number;
  maxRows?: number;

  // Settings of HTTP, under the names that Grafana's plugin SDK reads.
  /** In seconds. */
  timeout?: number;
  enableSecureSocksProxy?: boolean;
  tlsAuth?: boolean;
  tlsAuthWithCACert?: boolean;
  tlsSkipVerify?: boolean;
  serverName?: string;
  /** Numbered from 1 without a gap; the values are secrets. */
  [header: `httpHeaderName${number}`]: string | undefined;
}

/** What Grafana keeps encrypted and never gives back. */
export type Secrets = Record<string, string>;

/** Why the guard asks again. The back end counts the reasons by these names. */
export type Resync = 'hole' | 'short' | 'fields' | 'silence' | 'refused' | 'range' | 'failure' | 'health';

/** What the guard adds to a query on the wire. It is never saved. */
export interface Ask {
  /** Asks for the rows that a stream would have, but without a stream. */
  polled?: true;
  nonce: number;
  resync?: Resync;
}

/** `meta.custom` of an answer with the newest window of rows. All but `data` are in milliseconds. */
export interface Terms {
  /** The subscription data, passed unchanged to SubscribeStream and RunStream. Absent if there is no channel. */
  data?: string;
  step: number;
  window: number;
  /** The promise: from this grid time on no row is missing. */
  first: number;
  /** Instead of all others: the answer has no stream, and shall be polled. */
  poll?: boolean;
}
