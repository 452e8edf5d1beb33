import { DataFrame, DataFrameJSON, DataQueryResponse, LoadingState, StreamingDataFrame } from '@grafana/data';
import { readdirSync, readFileSync } from 'fs';
import path from 'path';
import { Observable, Subscriber, Subscription } from 'rxjs';
import { guard } from './guard';
import { Ask, Terms } from './types';

/** What one panel's guard saw and did. Times are in ms since the panel was opened. */
interface Recording {
  events: Array<{
    at: number;
    /** The guard asks; without a reason when the panel is opened. */
    ask?: { nonce: number; resync?: string };
    /** The request fails. */
    fails?: boolean;
    /** The answer: what the buffer holds that it leads to. */
    buffer?: DataFrameJSON;
    /** What is appended to that buffer. */
    packet?: DataFrameJSON;
  }>;
  /** The rows on screen at the end: a column for each field, the time first. */
  shown: unknown[][];
}

const folder = path.join(__dirname, '../pkg/plugin/testdata/guard');
const recordings = readdirSync(folder).filter((name) => name.endsWith('.json'));

/** Recorded by the back end's tests, which have a copy of the guard: both must do the same. */
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
    const { events, shown } = JSON.parse(readFileSync(path.join(folder, name), 'utf8')) as Recording;
    const asks: Recording['events'] = [];
    const epoch = { nonce: 0 };
    let panel: Subscription | undefined;
    let screen: DataFrame | undefined;
    let stream: Subscriber<DataQueryResponse> | undefined;
    let buffer: StreamingDataFrame | undefined;

    const query = ({ nonce, resync }: Ask) => {
      asks.push({ at: Date.now(), ask: { nonce, ...(resync && { resync }) } });
      return new Observable<DataQueryResponse>((out) => {
        stream = out;
      });
    };

    for (const { at, ask, fails, buffer: held, packet } of events) {
      jest.advanceTimersByTime(at - Date.now());
      if (ask && !ask.resync) {
        panel?.unsubscribe(); // it is opened again
        panel = guard(query, 'A', epoch).subscribe(({ data }) => (screen = data[0]));
      }
      if (fails) {
        stream?.next({ state: LoadingState.Done, data: [] });
      }
      if (held) {
        const { step, window } = held.schema?.meta?.custom as Terms;
        buffer = StreamingDataFrame.fromDataFrameJSON(held, {
          maxLength: (4 * window) / step + 10_000,
          maxDelta: window + 30_000,
        });
      }
      if (packet) {
        buffer?.push(packet);
      }
      if (buffer && (held ?? packet)) {
        stream?.next({ state: LoadingState.Streaming, data: [buffer] });
      }
    }
    panel?.unsubscribe();

    expect(asks).toEqual(events.filter(({ ask }) => ask));
    expect(screen?.fields.map(({ values }) => values as unknown[])).toEqual(shown);
  });
});
