import {
  CustomVariableSupport,
  DataFrame,
  DataQueryRequest,
  DataQueryResponse,
  dateTime,
  FieldType,
} from '@grafana/data';
import { delay, from, map, Observable, throwError } from 'rxjs';
import { lazily } from '../components/lazily';
import type { DataSource } from '../datasource';
import { MOST, Names } from './names';
import type { Options, Query } from '../types';
import { selector } from './text';
import { type SavedVariable, variableError, type VariableQuery, variableQuery } from './variableQuery';

/** The dashboard variables of data sources that are queried in PromQL. */
export class Variables extends CustomVariableSupport<DataSource, VariableQuery, Query, Options> {
  override editor = lazily(async () => (await import('./VariableEditor')).VariableEditor);

  constructor(private readonly datasource: DataSource) {
    super();
  }

  override getDefaultQuery(): Partial<VariableQuery> {
    return { kind: 'labelValues' };
  }

  override query(request: DataQueryRequest<VariableQuery>): Observable<DataQueryResponse> {
    const saved = request.targets[0] as SavedVariable;
    const error = variableError(saved);
    if (error) {
      return throwError(() => new Error(error));
    }
    const query = variableQuery(saved);
    if (query.kind === 'queryResult') {
      return this.queryResult(request, query);
    }
    const names = new Names(this.datasource, request.range, request.scopedVars, MOST);
    return from(listed(names, query).then(whole)).pipe(
      delay(0), // if the answer came at once, without a request, Grafana's form would ask again without end
      map((texts) => ({ data: [frameOf(texts)] })),
    );
  }

  /** The newest row of the answer: each series with its value and time. */
  private queryResult(request: DataQueryRequest, { refId, expr = '' }: VariableQuery): Observable<DataQueryResponse> {
    const { from: first, to } = request.range;
    const length = to.valueOf() - first.valueOf();
    // Only the newest rows are asked for, but $__range must mean the dashboard's range.
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
      return (await names.metrics(match)).map(({ name }) => name);
    default:
      return label ? names.values(label, match) : [];
  }
}

/** The names, if none can be missing: without a word, "all" would not mean all. */
function whole(names: string[]): string[] {
  if (names.length >= MOST) {
    throw new Error(
      `There are more than ${MOST.toLocaleString('en')} values: select fewer series, as in label_values(up{job="api"}, instance).`,
    );
  }
  return names;
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
