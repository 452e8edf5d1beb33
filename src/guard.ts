import {
  DataFrame,
  DataQueryError,
  DataQueryResponse,
  LoadingState,
  QueryResultMetaNotice,
  StreamingDataFrame,
} from '@grafana/data';
import { isEqual } from 'lodash';
import { defer, Observable, Subscription } from 'rxjs';
import { exact, identity } from './exact';
import { Ask, Resync } from './types';

/** The overlap is repeated 0.25 s and 1 s after a join, so that a hole which this does not fill stays. */
const GRACE = 1_500;
/** Beside a step: how long a stream may bring nothing new. Shorter than this, the browser's reconnect is soon enough. */
const SILENCE = 15_000;
/** How long an answer may take. A request on a dead connection would otherwise hold the panel for minutes. */
const PATIENCE = 30_000;
/** An attempt that lasted this long was not part of the same trouble. */
const CALM = 10_000;
const LONGEST_WAIT = 10_000;
/** How often a panel asks that is shown without a stream. */
const POLL = 15_000;
/** setTimeout fires at once when it is given more. */
const LONGEST_TIMER = 2 ** 31 - 1;

const TROUBLE: Record<Resync, string> = {
  hole: 'Rows are missing. Asking again.',
  short: 'The history is incomplete. Asking again.',
  fields: 'The series have changed. Asking again.',
  silence: 'No live rows arrive. Asking again every few seconds.',
  refused: 'Grafana does not let this panel stream. Asking again every few seconds.',
  failure: 'No answer from the data source. Asking again.',
};

/** The nonce that the live queries of a data source carry, as of now. */
export interface Nonce {
  current: number;
}

const nonces = new Map<string, Nonce>();

/**
 * The nonce of a data source in this browser tab. Grafana keeps a buffer as long as a panel of the tab uses its path, so
 * a nonce that was in doubt must not come back when a panel is refreshed or the data source is made anew.
 */
export function nonceOf(uid: string): Nonce {
  let nonce = nonces.get(uid);
  if (!nonce) {
    nonces.set(uid, (nonce = { current: 0 }));
  }
  return nonce;
}

/**
 * Runs one live query and passes on only what is exact: what a fresh query of the same window would return. On any
 * doubt it keeps what it has shown and asks again, under a nonce that gives it a new buffer. Where no stream is to be
 * had this amounts to polling.
 */
export function guard(
  query: (ask: Ask) => Observable<DataQueryResponse>,
  refId: string,
  nonce: Nonce,
): Observable<DataQueryResponse> {
  return new Observable((out) => {
    let attempt = new Subscription(); // one inner query with its timers, or the wait for the next
    let tries = 0;
    let shown: DataFrame | undefined;

    const show = (rows: DataFrame, trouble?: string) => {
      shown = rows;
      out.next({ key: refId, state: LoadingState.Streaming, data: [trouble ? noted(rows, trouble) : rows] });
    };

    // While rows are shown trouble is said in a notice: an error would throw the panel's time axis back to the range of
    // the first request.
    const complain = (trouble: string, error?: DataQueryError) =>
      shown
        ? show(shown, trouble)
        : out.next({ key: refId, state: LoadingState.Error, data: [], error: { ...error, message: trouble, refId } });

    const ask = (resync?: Resync) => {
      const used = nonce.current;
      const asked = Date.now();
      const mine = (attempt = new Subscription());
      let fields: Array<ReturnType<typeof identity>> | undefined; // of the buffer, as they were first
      let packets = 0;
      let heard: number | undefined; // the newest time
      let silence: ReturnType<typeof setTimeout> | undefined;
      let grace: ReturnType<typeof setTimeout> | undefined;
      mine.add(() => {
        clearTimeout(silence);
        clearTimeout(grace);
      });

      const again = (reason: Resync, error?: DataQueryError) => {
        mine.unsubscribe();
        // The first panel in doubt renews the nonce for all that use it. A query that failed has joined no buffer.
        if (fields && used === nonce.current) {
          nonce.current++;
        }
        tries = Date.now() - asked > CALM ? 0 : tries + 1;
        const wait = setTimeout(() => ask(reason), Math.random() * Math.min(LONGEST_WAIT, 250 * 2 ** tries));
        attempt = new Subscription(() => clearTimeout(wait));
        if (!fields || tries > 2) {
          complain(messageOf(error) ?? TROUBLE[fields ? reason : 'failure'], error);
        }
      };

      const expectMoreWithin = (ms: number) => {
        clearTimeout(silence);
        silence = setTimeout(() => again('silence'), Math.min(ms, LONGEST_TIMER));
      };

      const read = (buffer: StreamingDataFrame, error?: DataQueryError) => {
        const now = buffer.fields.map(identity);
        const unchanged = isEqual(now, (fields ??= now));
        const { rows, doubt, mendable, newest, step } = exact(buffer, refId);
        if (!unchanged || doubt === 'fields') {
          again('fields');
        } else if (doubt && !mendable) {
          again(doubt);
        } else {
          packets += error ? 0 : 1;
          if (!error && (heard === undefined || newest > heard)) {
            heard = newest;
            expectMoreWithin(step + SILENCE);
          }
          if (rows) {
            clearTimeout(grace);
            grace = undefined;
            // A stream that has failed before is trusted when it brings more than its beginning.
            const failing = resync === 'silence' || (resync === 'refused' && tries > 2);
            show(rows, messageOf(error) ?? (failing && packets < 2 ? TROUBLE[resync] : undefined));
          } else {
            grace ??= setTimeout(() => again('hole'), GRACE);
          }
        }
      };

      expectMoreWithin(PATIENCE);
      const inner = defer(() => query({ live: true, nonce: used, resync })).subscribe({
        next: (answer) => {
          const frame: DataFrame | undefined = answer.data[0];
          if (mine.closed) {
            return; // emitted while it was being left
          }
          if (frame instanceof StreamingDataFrame) {
            read(frame, answer.error);
          } else if (answer.error?.status === 400 && !shown) {
            out.next({ ...answer, key: refId }); // only who wrote the query can mend it, and then Grafana asks anew
            out.complete();
          } else if (answer.error || !frame) {
            again('failure', answer.error); // a request that failed on the way is an answer without anything
          } else {
            // No stream is to be had. Where the user should know, a notice says why, and that may pass. Grafana's axis
            // goes on with answers that stream, and these come again.
            const polled = frame.meta?.notices?.length;
            out.next({ ...answer, key: refId, ...(polled && { state: LoadingState.Streaming }) });
            if (polled) {
              shown = frame; // what a failure must keep
              mine.unsubscribe();
              const wait = setTimeout(() => ask('refused'), POLL);
              attempt = new Subscription(() => clearTimeout(wait));
            } else {
              out.complete();
            }
          }
        },
        error: (error: DataQueryError) => again('failure', error),
        complete: () => mine.closed || again('refused'), // nothing more will come on this channel
      });
      mine.add(inner);
    };

    ask();
    return () => attempt.unsubscribe();
  });
}

function messageOf(error?: DataQueryError): string | undefined {
  return error?.message || error?.data?.message || error?.statusText;
}

/** The frame with a warning beside those that it has. */
export function noted(frame: DataFrame, text: string): DataFrame {
  const notice: QueryResultMetaNotice = { severity: 'warning', text };
  return { ...frame, meta: { ...frame.meta, notices: [...(frame.meta?.notices ?? []), notice] } };
}
