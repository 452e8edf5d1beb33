import type { BaseQuery } from '../../types';

export const AGGREGATIONS = ['last', 'avg', 'min', 'max', 'sum', 'count'];

export interface MetricsAPIQuery extends BaseQuery {
  metricName?: string;
  /** Passed on to the service. */
  queryText?: string;
  aggregation?: string;
  /** In milliseconds, or the text with a template variable that holds it. */
  minStep?: number | string;
}

/** The values of fields that are not saved. */
export const DEFAULTS = { metricName: '', aggregation: 'last', minStep: 1000 };
