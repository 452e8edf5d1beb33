import {
  type AnnotationSupport,
  type DataQueryRequest,
  type DataQueryResponse,
  LoadingState,
  toDataFrame,
} from '@grafana/data';
import { getTemplateSrv } from '@grafana/runtime';
import { omit } from 'lodash';
import { catchError, defer, map, type Observable, of } from 'rxjs';
import { parseDuration } from '../components/config/units';
import { lazily } from '../components/lazily';
import type { DataSource } from '../datasource';
import { hasStates } from '../sources';
import type { Query } from '../types';
import { eventsOf, type Failure } from './events';

const QueryEditor = lazily(async () => (await import('./AnnotationEditor')).AnnotationEditor);

/** Makes annotations of the rows of any query. */
export const annotationsOf = (datasource: DataSource): AnnotationSupport<Query> => ({
  QueryEditor,
  prepareQuery: ({ target }) =>
    target && datasource.filterQuery(target)
      ? {
          ...target,
          withStreaming: false,
          format: target.format === 'states' && hasStates(datasource.source) ? 'states' : undefined,
        }
      : undefined,
  processEvents: ({ target }, frames) =>
    of(eventsOf(frames, target?.event, (text, write) => getTemplateSrv().replace(text, undefined, write))),
});

/** Whether Grafana asks for the rows of an annotation. */
export const isAnnotation = ({ scopedVars }: DataQueryRequest<Query>) => '__annotation' in scopedVars;

/**
 * Answers the query of an annotation, with its own step and no more than `maxRows` rows. Dashboards show no errors of annotations, so an error comes
 * with a frame that becomes an event.
 */
export function answerAnnotation(
  request: DataQueryRequest<Query>,
  maxRows: number,
  answer: (request: DataQueryRequest<Query>) => Observable<DataQueryResponse>,
): Observable<DataQueryResponse> {
  const told = (response: DataQueryResponse): DataQueryResponse => {
    const errors = response.errors ?? (response.error ? [response.error] : []);
    const failed = errors.length > 0 || response.data.length === 0; // a failed request has an empty answer
    const failure = errors.map(({ message }) => message).join('\n') || 'Grafana has not answered.';
    const custom: Failure = { failure, at: request.range.to.valueOf() };
    return failed ? { ...response, data: [...response.data, toDataFrame({ fields: [], meta: { custom } })] } : response;
  };
  const targets = request.targets.map((target) => omit(target, 'event') as Query);
  return defer(() => answer({ ...stepped(request, maxRows), targets })).pipe(
    catchError((error: Error) =>
      of({ state: LoadingState.Error, data: [], error: { refId: request.targets[0]?.refId, message: error.message } }),
    ),
    map(told),
  );
}

function stepped(request: DataQueryRequest<Query>, maxRows: number): DataQueryRequest<Query> {
  const text = getTemplateSrv().replace(request.targets[0]?.event?.step ?? '', request.scopedVars);
  if (!text.trim()) {
    return request;
  }
  const step = parseDuration(text);
  if (!step) {
    throw new Error(`The step “${text}” of the annotation is no duration: use one such as 10s, 1m or 1h.`);
  }
  const length = request.range.to.valueOf() - request.range.from.valueOf();
  // At both ends of the range there may be a row more.
  const least = Math.ceil(length / Math.max(1, maxRows - 2));
  // A longer step than the range might leave it without a row.
  const intervalMs = Math.max(1, least, Math.min(step, length));
  return { ...request, intervalMs, interval: `${intervalMs}ms` };
}
