import type { DataQuery } from '@grafana/schema';
import { selector } from './text';

/** What a variable of a dashboard takes its values from. */
export interface VariableQuery extends DataQuery {
  kind?: 'labelValues' | 'labelNames' | 'metrics' | 'queryResult';
  label?: string;
  /** Selects the series to look at. Not used by `queryResult`. */
  match?: string;
  /** The expression of `queryResult`. */
  expr?: string;
}

/**
 * A variable's query as this plugin saves it, or as it is provisioned for Grafana's Prometheus data source: a call such
 * as label_values(), by itself or in the field `query`.
 */
export type SavedVariable = VariableQuery | string | { query: string };

/** The query of a variable in whatever form it was saved. A call that is not known gives no values. */
export function variableQuery(saved: SavedVariable): VariableQuery {
  const text = typeof saved === 'string' ? saved : 'query' in saved && !('kind' in saved) ? saved.query : undefined;
  if (typeof text !== 'string') {
    return saved as VariableQuery;
  }
  const refId = 'variable';
  const [, name, args = ''] = /^\s*(\w+)\(([\s\S]*)\)\s*$/.exec(text) ?? [];
  switch (name) {
    case 'label_values': {
      const [, match, label = ''] = /^(?:([\s\S]*),)?\s*([^\s,]+)\s*$/.exec(args) ?? [];
      return { refId, kind: 'labelValues', label, match: match?.trim() };
    }
    case 'label_names':
      return { refId, kind: 'labelNames', match: args.trim() || undefined };
    case 'metrics':
      return {
        refId,
        kind: 'metrics',
        match: args.trim() && selector('', [{ label: '__name__', op: '=~', value: `.*(?:${args.trim()}).*` }]),
      };
    case 'query_result':
      return { refId, kind: 'queryResult', expr: args.trim() };
    default:
      return { refId, kind: 'labelValues' };
  }
}
