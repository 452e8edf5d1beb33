import {
  DataFrame,
  DataQueryRequest,
  DataQueryResponse,
  isLiveChannelStatusEvent,
  LiveChannelAddress,
  LiveChannelConnectionState,
  LiveChannelScope,
  LoadingState,
  StreamingFrameOptions,
} from '@grafana/data';
import { config, getGrafanaLiveSrv, isExpressionReference, StreamingFrameAction } from '@grafana/runtime';
import {
  combineLatest,
  concat,
  connect,
  delay,
  EMPTY,
  filter,
  map,
  merge,
  Observable,
  of,
  switchMap,
  take,
  takeWhile,
} from 'rxjs';
import { noted } from './guard';
import { isCompared } from './scenes';
import { turns } from './turns';
import { Query, Terms } from './types';

export const wantsStream = (target: Query) => target.withStreaming !== false;

/** Whether a stream is wanted, and the caller can handle an answer that never completes. */
export function isLive(request: DataQueryRequest<Query>): boolean {
  return (
    request.targets.some(wantsStream) &&
    // Grafana moves the time axis by `range.raw`. `rangeRaw` is of no use here: it stays relative in a time comparison.
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
 * Opens the channel of an answer with its subscription data, and returns how Grafana should buffer the rows that come.
 */
export function openStream(frame: DataFrame): Partial<StreamingFrameOptions> {
  const { data, step = 1000, window = 0 }: Partial<Terms> = frame.meta?.custom ?? {};
  try {
    openChannel(frame.meta?.channel ?? '', data);
  } catch (error) {
    console.error('Continuum: the channel could not be opened with its data', error);
  }
  return {
    action: StreamingFrameAction.Append,
    // Each join repeats the overlap for all viewers, so far more rows come in than are shown.
    maxLength: (4 * window) / step + 10_000,
    // A little more than is shown, because repeated rows make it inexact how Grafana cuts the buffer by age.
    maxDelta: window + 30_000,
  };
}

/**
 * Opens a channel together with its subscription data. Grafana's own subscription follows at once but cannot pass the
 * data. It finds the channel open, because a channel without a subscriber stays open for 250 ms.
 */
function openChannel(channel: string, data?: string) {
  getGrafanaLiveSrv().getStream(addressOf(channel, data)).subscribe().unsubscribe();
}

function addressOf(channel: string, data?: string): LiveChannelAddress {
  const [, stream = '', ...path] = channel.split('/');
  const address = { scope: LiveChannelScope.DataSource, stream, path: path.join('/'), data };
  return Object.assign(address, { namespace: stream }); // the name of `stream` before Grafana 12.4
}

/**
 * Ends the answers when Grafana's server refuses the subscription, as it does on a connection that is older than ten
 * minutes. Then no rows will come, Grafana does not try again, and its data stream does not report the refusal.
 */
export const untilRefused = connect((answers: Observable<DataQueryResponse>) =>
  // The answer itself goes first, because the guard has to know that there was a channel.
  merge(answers, answers.pipe(take(1), switchMap(refusal))).pipe(takeWhile((answer) => answer !== undefined)),
);

function refusal({ data }: DataQueryResponse): Observable<undefined> {
  const { channel, custom } = (data[0] as DataFrame | undefined)?.meta ?? {};
  if (!channel) {
    return EMPTY;
  }
  return getGrafanaLiveSrv()
    .getStream(addressOf(channel, (custom as Terms | undefined)?.data))
    .pipe(
      filter((event) => isLiveChannelStatusEvent(event) && event.state === LiveChannelConnectionState.Disconnected),
      map(() => undefined),
    );
}

/**
 * Repeats an answer if no other follows soon. Explore's Live drops what comes within half a second of what it has
 * passed on last, even if that was only that the query is loading. It would show the answer with the next row.
 */
export const repeated = switchMap((answer: DataQueryResponse) => concat(of(answer), of(answer).pipe(delay(600))));

/** One answer for all targets, in their order. */
export const combined = (answers: Array<Observable<DataQueryResponse>>): Observable<DataQueryResponse> =>
  combineLatest(answers).pipe(inTurns, map(combine));

/** Passes on the latest value when it is the turn of the panels, and the last value at once. */
function inTurns<T>(source: Observable<T>): Observable<T> {
  return new Observable((out) => {
    let latest: T | undefined;
    const show = () => {
      if (latest !== undefined) {
        out.next(latest);
        latest = undefined;
      }
    };
    const sub = source.subscribe({
      next: (value) => {
        latest = value;
        turns.join(show);
      },
      error: (error) => out.error(error),
      complete: () => {
        show();
        out.complete();
      },
    });
    return () => {
      turns.leave(show);
      sub.unsubscribe();
    };
  });
}

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
