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

/** The query of a variable in whatever form it was saved. A call that cannot be read gives no values. */
export function variableQuery(saved: SavedVariable): VariableQuery {
  const text = callOf(saved);
  if (text === undefined) {
    return saved as VariableQuery;
  }
  const read = readCall(text);
  return { refId: 'variable', ...(typeof read === 'string' ? { kind: 'labelValues' } : read) };
}

/** What is wrong with a query that was saved as a call, and what to write instead. */
export function variableError(saved: SavedVariable): string | undefined {
  const read = readCall(callOf(saved) ?? '');
  return typeof read === 'string' ? read : undefined;
}

function callOf(saved: SavedVariable): string | undefined {
  const text = typeof saved === 'string' ? saved : 'query' in saved && !('kind' in saved) ? saved.query : undefined;
  return typeof text === 'string' ? text : undefined;
}

/** The query that a call stands for, or what is wrong with it. */
function readCall(text: string): Partial<VariableQuery> | string {
  if (!text.trim()) {
    return { kind: 'labelValues' };
  }
  const [, name, args = ''] = /^\s*(\w+)\s*\(([\s\S]*)\)\s*$/.exec(text) ?? [];
  switch (name) {
    case 'label_values': {
      const [, match, label = ''] = /^(?:([\s\S]*),)?\s*("[^"]*"|[^\s,]*)\s*$/.exec(args) ?? [];
      const plain = label.replace(/^"|"$/g, '');
      // A variable has braces too.
      if (!plain || /[=~!()"]|(?<!\$)\{/.test(plain)) {
        return `“${text.trim()}” has no name of a label at its end: write label_values(label), or label_values(selector, label).`;
      }
      return { kind: 'labelValues', label: plain, match: match?.trim() };
    }
    case 'label_names':
      return { kind: 'labelNames', match: args.trim() || undefined };
    case 'metrics':
      return {
        kind: 'metrics',
        match: args.trim() && selector('', [{ label: '__name__', op: '=~', value: `.*(?:${args.trim()}).*` }]),
      };
    case 'query_result':
      return args.trim()
        ? { kind: 'queryResult', expr: args.trim() }
        : 'query_result() needs an expression: write query_result(up).';
    default:
      return `“${text.trim()}” is no query of a variable: write label_values(label), label_values(selector, label), label_names(), metrics(pattern) or query_result(expression).`;
  }
}
