import {
  CustomVariableSupport,
  DataFrame,
  DataQueryRequest,
  DataQueryResponse,
  dateTime,
  FieldType,
} from '@grafana/data';
import { DataQuery } from '@grafana/schema';
import { delay, from, map, Observable } from 'rxjs';
import { VariableEditor } from './VariableEditor';
import type { DataSource } from '../datasource';
import { Names } from './names';
import { selector } from './promql';
import { Options, Query } from '../types';

/** What a variable of a dashboard takes its values from. */
export interface VariableQuery extends DataQuery {
  kind?: 'labelValues' | 'labelNames' | 'metrics' | 'queryResult';
  label?: string;
  /** Selects the series that are looked at, for all kinds but the last. */
  match?: string;
  /** Of a query result. */
  expr?: string;
}

/** Variables as they are provisioned for Grafana's Prometheus data source: a call, by itself or as the field query. */
type Saved = VariableQuery | string | { query: string };

type Support = CustomVariableSupport<DataSource, VariableQuery, Query, Options>;

/** The variables that a data source offers which is asked in PromQL. */
export const variablesOf = (datasource: DataSource): Support => new Variables(datasource);

class Variables extends CustomVariableSupport<DataSource, VariableQuery, Query, Options> {
  override editor = VariableEditor;

  constructor(private readonly datasource: DataSource) {
    super();
  }

  override getDefaultQuery(): Partial<VariableQuery> {
    return { kind: 'labelValues' };
  }

  override query(request: DataQueryRequest<VariableQuery>): Observable<DataQueryResponse> {
    const query = variableQuery(request.targets[0] as Saved);
    if (query.kind === 'queryResult') {
      return this.queryResult(request, query);
    }
    const names = new Names(this.datasource, request.range, request.scopedVars);
    return from(listed(names, query)).pipe(
      delay(0), // an answer without a request would come so soon that Grafana's form never ends to ask
      map((texts) => ({ data: [frameOf(texts)] })),
    );
  }

  /** The newest row of the answer: each series with its value and time. */
  private queryResult(request: DataQueryRequest, { refId, expr = '' }: VariableQuery): Observable<DataQueryResponse> {
    const { from: first, to } = request.range;
    const length = to.valueOf() - first.valueOf();
    // A few rows are enough, but $__range means the dashboard's.
    const seconds = Math.max(1, Math.round(length / 1000));
    const written = expr.replace(
      /\$(?:__range(_ms|_s)?\b|\{__range(_ms|_s)?\})/g,
      (_, plain?: string, braces?: string) => {
        const unit = plain ?? braces;
        return unit === '_ms' ? `${length}` : unit ? `${seconds}` : `${seconds}s`;
      },
    );
    const range = { from: dateTime(to.valueOf() - RECENT), to };
    return this.datasource
      .query({
        ...request,
        range: { ...range, raw: range },
        interval: '10s',
        intervalMs: 10_000,
        maxDataPoints: RECENT / 10_000,
        targets: [{ refId, expr: written, withStreaming: false }],
      })
      .pipe(map((answer) => ({ ...answer, data: [frameOf(answer.data.flatMap(newestOf))] })));
  }
}

const RECENT = 5 * 60_000;

async function listed(names: Names, { kind, label, match }: VariableQuery): Promise<string[]> {
  switch (kind) {
    case 'labelNames':
      return names.labels(match);
    case 'metrics':
      return (await names.metrics('', match)).map(({ name }) => name);
    default:
      return label ? names.values(label, match) : [];
  }
}

function frameOf(texts: string[]): DataFrame {
  return { fields: [{ name: 'text', type: FieldType.string, config: {}, values: texts }], length: texts.length };
}

function newestOf({ fields: [time, ...series], length }: DataFrame): string[] {
  return series.flatMap(({ values, labels: { __name__ = '', ...labels } = {} }) => {
    const value: unknown = values[length - 1];
    const matchers = Object.entries(labels).map(([label, text]) => ({ label, op: '=', value: text }));
    return value === null || value === undefined
      ? []
      : [`${selector(__name__, matchers)} ${value as number} ${time!.values[length - 1] as number}`];
  });
}

/** The query of a variable in whatever form it was saved. A call that is not known gives no values. */
export function variableQuery(saved: Saved): VariableQuery {
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
