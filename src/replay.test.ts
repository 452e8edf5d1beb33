import {
  DataFrame,
  DataFrameJSON,
  DataQueryResponse,
  LoadingState,
  StreamingDataFrame,
  TimeRange,
  toDataFrame,
} from '@grafana/data';
import { createHash } from 'crypto';
import { readdirSync, readFileSync } from 'fs';
import path from 'path';
import { Observable, Subscriber, Subscription } from 'rxjs';
import { guard } from './guard';
import { Nonces } from './nonces';
import { LiveRange } from './range';
import { Ask, Terms } from './types';

/** What a guard gets or does, at a time in ms since the recording began. */
interface Event {
  at: number;
  guard: number;
  open?: { key: string; range?: string; length: number; patience: number };
  close?: true;
  /** An answer with a stream: the content of its buffer. */
  buffer?: DataFrameJSON;
  /** What is appended to that buffer. */
  packet?: DataFrameJSON;
  /** How many queries were sent since: the event belongs to an older query. */
  ago?: number;
  /** Grafana refuses the subscription. */
  ends?: true;
  /** An answer without a stream: a column for each field, the time first. */
  plain?: { values: unknown[][]; terms?: Terms; notices: number };
  /** There is no answer. */
  fails?: { status: number; retryAfter?: number };
  /** The tab is hidden or shown, which concerns all guards. */
  hidden?: boolean;
  /** The guard asks. */
  ask?: Ask;
  /** The guard shows something: the state, the number of notices, the number of rows, and a digest of the rows. */
  show?: string;
}

interface Recording {
  /** In Unix milliseconds. */
  began: number;
  events: Event[];
}

const folder = path.join(__dirname, '../pkg/plugin/testdata/guard');
const recordings = readdirSync(folder).filter((name) => name.endsWith('.json'));

function inShort({ state, data }: DataQueryResponse): string {
  const frame = data[0] as DataFrame | undefined;
  if (state === LoadingState.Error || !frame) {
    return `${state}`;
  }
  const columns = JSON.stringify(frame.fields.map(({ values }) => values as unknown[]));
  const digest = createHash('sha256').update(columns).digest('hex').slice(0, 6);
  return `${state} ${frame.meta?.notices?.length ?? 0} ${frame.length} ${digest}`;
}

/** One guard with its inputs and outputs. */
class Replayed {
  readonly did: Event[] = [];
  private readonly panel: Subscription;
  /** One entry per query, with the buffer of its stream. */
  private readonly streams: Array<{ out: Subscriber<DataQueryResponse>; buffer?: StreamingDataFrame }> = [];

  constructor(
    private readonly id: number,
    private readonly began: number,
    nonces: Nonces,
    { key, range, length, patience }: NonNullable<Event['open']>,
  ) {
    const query = ({ polled, nonce, resync }: Ask) => {
      this.note({ ask: { ...(polled && { polled }), nonce, ...(resync && { resync }) } });
      return new Observable<DataQueryResponse>((out) => {
        this.streams.push({ out });
      });
    };
    const raw = { from: range ?? `now-${length / 1000}s`, to: 'now' };
    const ranges = new LiveRange({ range: { raw } as TimeRange, timezone: 'utc', scopedVars: {} }, patience);
    const panel = { refId: 'A', nonces, key, patience, wanted: () => ranges.wanted(), grows: ranges.grows };
    this.panel = guard(query, panel).subscribe((answer) => this.note({ show: inShort(answer) }));
  }

  close() {
    this.panel.unsubscribe();
  }

  give({ buffer, packet, ends, plain, fails, ago = 0 }: Event) {
    const stream = this.streams[this.streams.length - 1 - ago]!;
    const { out } = stream;
    if (fails) {
      const { status, retryAfter } = fails;
      const data = retryAfter ? [toDataFrame({ fields: [], meta: { custom: { retryAfter } } })] : [];
      out.next({ state: LoadingState.Error, data, error: { status, message: 'so it is' } });
    } else if (ends) {
      out.complete();
    } else if (plain) {
      const notices = Array.from({ length: plain.notices }, () => ({ severity: 'warning' as const, text: 'why' }));
      const { terms: custom } = plain;
      const config = { interval: custom?.step };
      const fields = plain.values.map((values, i) => ({ name: `${i}`, values, config: i ? {} : config }));
      out.next({ state: LoadingState.Done, data: [toDataFrame({ fields, meta: { custom, notices } })] });
      out.complete();
    } else {
      if (buffer) {
        const { step, window } = buffer.schema?.meta?.custom as Terms;
        const maxLength = (4 * window) / step + 10_000;
        stream.buffer = StreamingDataFrame.fromDataFrameJSON(buffer, { maxLength, maxDelta: window + 30_000 });
      } else if (packet) {
        stream.buffer?.push(packet);
      }
      out.next({ state: LoadingState.Streaming, data: [stream.buffer] });
    }
  }

  private note(did: Partial<Event>) {
    this.did.push({ at: Date.now() - this.began, guard: this.id, ...did });
  }
}

/** Recorded by the back end's tests, which have a copy of the guard: both must ask and show the same. */
describe('recorded schedules', () => {
  beforeEach(() => {
    jest.useFakeTimers({ now: 0 });
    jest.spyOn(Math, 'random').mockReturnValue(0.5);
  });
  afterEach(() => {
    jest.useRealTimers();
    jest.restoreAllMocks();
  });

  it.each(recordings)('%s', (name) => {
    const { began, events } = JSON.parse(readFileSync(path.join(folder, name), 'utf8')) as Recording;
    jest.setSystemTime(began);
    const nonces = new Nonces();
    const guards = new Map<number, Replayed>();
    for (const event of events) {
      jest.advanceTimersByTime(began + event.at - Date.now());
      if (event.open) {
        guards.set(event.guard, new Replayed(event.guard, began, nonces, event.open));
      } else if (event.hidden !== undefined) {
        jest.spyOn(document, 'visibilityState', 'get').mockReturnValue(event.hidden ? 'hidden' : 'visible');
        document.dispatchEvent(new window.Event('visibilitychange'));
      } else if (event.close) {
        guards.get(event.guard)!.close();
      } else if (!event.ask && !event.show) {
        guards.get(event.guard)!.give(event);
      }
    }
    for (const [id, replayed] of guards) {
      replayed.close();
      expect(replayed.did).toEqual(events.filter((event) => event.guard === id && (event.ask ?? event.show)));
    }
  });
});
