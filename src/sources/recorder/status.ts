import { getBackendSrv, isFetchError } from '@grafana/runtime';
import { useEffect, useState } from 'react';
import { catchError, exhaustMap, map, of, scan, timer } from 'rxjs';

/** The status of a recorder. Times are in Unix milliseconds. */
export interface Status {
  inputs: InputStatus[] | null;
  series: number;
  bytes: number;
  /** 0 before there is a sample. */
  oldest: number;
  settled: number;
  used?: number;
  /** When recording stops if nobody asks for samples. */
  stops?: number;
  /** Why nothing can be stored now. */
  notReady?: string;
  /** In bytes, 0 if it is not known. */
  diskFree?: number;
  /** Why what is recorded may not be there after the next start. Viewers do not get it. */
  fleeting?: string;
  /** The samples that were last deleted because they were ahead of the clock. */
  removed?: { samples: number; from: number; to: number; at: number };
  rules?: RuleStatus[];
}

/** The status of a recording rule. */
export interface RuleStatus {
  /** Its name and labels. */
  rule: string;
  group: string;
  /** The first and the last time for which it was evaluated, 0 before that. */
  from: number;
  through: number;
  /** How long the last evaluation took. */
  seconds: number;
  series: number;
  /** How many values were replaced because of late samples. */
  corrected: number;
  failures: number;
  lastError?: string;
  /** Why it is not evaluated. */
  waiting?: string;
}

type Refusal = 'future' | 'tooOld' | 'duplicate' | 'recorded';

export interface InputStatus {
  name: string;
  state: 'connecting' | 'down' | 'waiting' | 'unstored' | 'recording';
  /** Since when it is in that state. */
  since: number;
  /** Topics or subjects that nothing has come from yet. */
  silent?: string[];
  samples: number;
  late: number;
  repeated: number;
  refused: Record<Refusal, number>;
  /** The first samples that were refused. Viewers do not get them. */
  refusedFirst?: Partial<Record<Refusal, string>>;
  /** When a sample was stored last, 0 for never. */
  stored: number;
  /** Samples per second, over the last ten seconds. */
  rate: number;
  trouble?: string;
  /** When it tries to connect again. */
  nextTry?: number;
  lastError?: string;
  messages?: number;
  /** By reason. Viewers get no examples. */
  skipped?: Record<string, { count: number; example?: string }>;
  /** The last message and what was stored of it. Viewers do not get it. */
  last?: { from: string; payload: string; samples: string[] | null };
}

/** The newest status, which stays while requests fail, and why the newest request failed. */
export interface Polled {
  status?: Status;
  /** When it came. */
  at?: number;
  error?: string;
}

const EVERY = 2000;

/**
 * Asks a recorder for its status every two seconds, for as long as the component is mounted. Without a uid it asks
 * nothing.
 */
export function useStatus(uid?: string): Polled {
  const [polled, setPolled] = useState<Polled>({});
  useEffect(() => {
    if (uid === undefined) {
      return;
    }
    const url = `/api/datasources/uid/${uid}/resources/status`;
    const subscription = timer(0, EVERY)
      .pipe(
        exhaustMap(() =>
          getBackendSrv()
            .fetch<Status>({ url, showErrorAlert: false })
            .pipe(
              map(({ data }): Polled => ({ status: data, at: Date.now() })),
              catchError((error: unknown) => of<Polled>({ error: messageOf(error) })),
            ),
        ),
        scan((last, next) => ({ ...last, error: undefined, ...next })),
      )
      .subscribe(setPolled);
    return () => subscription.unsubscribe();
  }, [uid]);
  return polled;
}

/** The message of a failed request. */
export function messageOf(error: unknown): string {
  if (!isFetchError<{ error?: string; message?: string } | undefined>(error)) {
    return error instanceof Error ? error.message : String(error);
  }
  return error.data?.error ?? error.data?.message ?? error.statusText ?? `HTTP status ${error.status}`;
}
