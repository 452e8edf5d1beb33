import {
  dataFrameFromJSON,
  DataFrameJSON,
  DataQueryResponse,
  FieldType,
  LoadingState,
  StreamingDataFrame,
  StreamingFrameAction,
  StreamingFrameOptions,
} from '@grafana/data';
import { defer, delay, Observable, of, ReplaySubject, Subject } from 'rxjs';
import { Terms } from '../types';

/**
 * A model of what lies between the guard and the back end, as Grafana 12.4 behaves: its Live server, a browser tab's
 * channels and buffers, and a back end whose row at a time t has the value t. It uses Grafana's own StreamingDataFrame.
 * All of it runs on setTimeout and so under jest's fake timers.
 */

/** How long things take, in ms. */
export const DELAY = {
  /** From asking until the back end evaluates the query, and from there until the answer is there. */
  query: 10,
  answer: 20,
  /**
   * From subscribing until SubscribeStream and RunStream, then until the hub knows the viewer, then until the viewer is
   * told.
   */
  subscribe: 20,
  hub: 20,
  joined: 10,
};

const after = (ms: number, what: () => void) => setTimeout(what, ms);
const times = (from: number, through: number, step: number) =>
  Array.from({ length: Math.max(0, (through - from) / step + 1) }, (_, i) => from + i * step);

/**
 * What the back end does besides answering queries and sending each row once. By default everything that docs/design.md
 * says.
 */
export interface BackEnd {
  initialData: boolean;
  repeat: boolean;
  /** Each window and nonce has a path of its own. */
  distinctPaths: boolean;
}

interface Viewer {
  receive: (packet: DataFrameJSON) => void;
}

interface Stream {
  viewers: Set<Viewer>;
  stop: () => void;
}

/** Grafana's server with the back end behind it. */
export class Server {
  queries = 0;
  /** HTTP requests fail, as they do while the network is down. */
  unreachable = false;
  /** Publications are lost. */
  mute = false;
  /** Subscriptions are refused, and the browser is not told. */
  refuses = false;
  private streams = new Map<string, Stream>();

  constructor(
    readonly step: number,
    readonly backEnd: BackEnd = { initialData: true, repeat: true, distinctPaths: true },
  ) {}

  private get settled() {
    return Math.floor(Date.now() / this.step) * this.step;
  }

  /** The rows in (after, through]. */
  rows(from: number, through: number): DataFrameJSON {
    const t = times(from + this.step, through, this.step);
    return { data: { values: [t, t] } };
  }

  history(window: number, nonce: number, names = ['value'], digest = 'd'): DataFrameJSON {
    const through = this.settled;
    const path = this.backEnd.distinctPaths ? `${this.step}/${window}/${digest}/${nonce}` : 'd';
    const custom: Terms = { data: '{}', step: this.step, window, first: through - window };
    const t = times(custom.first, through, this.step);
    return {
      schema: {
        refId: 'someone',
        meta: { channel: `ds/uid/stream/${path}`, custom },
        fields: [
          { name: 'time', type: FieldType.time, config: { interval: this.step } },
          ...names.map((name) => ({ name, type: FieldType.number, labels: { name }, config: {} })),
        ],
      },
      data: { values: [t, ...names.map(() => t)] },
    };
  }

  overlap(): DataFrameJSON {
    const rows = Math.max(10, 10_000 / this.step);
    return this.rows(this.settled - rows * this.step, this.settled);
  }

  publish(channel: string, packet: DataFrameJSON) {
    if (!this.mute) {
      this.streams.get(channel)?.viewers.forEach((viewer) => viewer.receive(packet));
    }
  }

  /** Publishes to all streams. */
  publishAll(packet: DataFrameJSON) {
    [...this.streams.keys()].forEach((channel) => this.publish(channel, packet));
  }

  /** Publishes to the streams of one digest. */
  publishTo(digest: string, packet: DataFrameJSON) {
    [...this.streams.keys()]
      .filter((channel) => channel.includes(`/${digest}/`))
      .forEach((c) => this.publish(c, packet));
  }

  /** The server's half of a join. Rows that are sent before the hub knows the viewer do not reach it. */
  join(channel: string, viewer: Viewer): DataFrameJSON | undefined {
    const stream = this.streams.get(channel) ?? this.runStream(channel);
    after(DELAY.hub, () => stream.viewers.add(viewer));
    if (this.backEnd.repeat) {
      [250, 1000].forEach((ms) => after(ms, () => this.publish(channel, this.overlap())));
    }
    return this.backEnd.initialData ? this.overlap() : undefined;
  }

  leave(channel: string, viewer: Viewer) {
    const stream = this.streams.get(channel);
    stream?.viewers.delete(viewer);
    if (stream?.viewers.size === 0) {
      stream.stop();
      this.streams.delete(channel);
    }
  }

  /** Sends each row when it is settled. */
  private runStream(channel: string): Stream {
    let sent = this.settled;
    let timer: ReturnType<typeof setTimeout>;
    const tick = () => {
      if (this.settled > sent) {
        this.publish(channel, this.rows(sent, this.settled));
        sent = this.settled;
      }
      timer = after(this.settled + this.step - Date.now(), tick);
    };
    timer = after(this.settled + this.step - Date.now(), tick);
    const stream = { viewers: new Set<Viewer>(), stop: () => clearTimeout(timer) };
    this.streams.set(channel, stream);
    return stream;
  }
}

interface Channel {
  events: Subject<DataFrameJSON>;
  viewer: Viewer;
  lastWithSchema?: DataFrameJSON;
}

interface Buffer {
  get: (history: DataFrameJSON, options: StreamingFrameOptions) => Observable<DataQueryResponse>;
}

/** Grafana Live in one browser tab. */
export class Tab {
  private channels = new Map<string, Channel>();
  private buffers = new Map<string, Buffer>();
  private online = true;

  constructor(private readonly server: Server) {}

  /** What DataSourceWithBackend.query does with a live query. */
  query(
    window: number,
    nonce: number,
    options?: { rows?: number; names?: string[]; digest?: string },
  ): Observable<DataQueryResponse> {
    const { server } = this;
    return new Observable((out) => {
      server.queries++;
      let left = () => {};
      const fail = () => {
        out.next({ state: LoadingState.Done, data: [] });
        out.complete();
      };
      const answer = () => {
        if (server.unreachable) {
          fail();
          return;
        }
        const history = server.history(window, nonce, options?.names, options?.digest);
        const arrival = after(DELAY.answer, () => {
          const buffer = {
            maxLength: options?.rows ?? (4 * window) / server.step + 10_000,
            maxDelta: window + 30_000,
            action: StreamingFrameAction.Append,
          };
          const sub = this.getDataStream(history, buffer).subscribe(out);
          left = () => sub.unsubscribe();
        });
        left = () => clearTimeout(arrival);
      };
      const request = after(DELAY.query, answer);
      return () => {
        clearTimeout(request);
        left();
      };
    });
  }

  /** What DataSourceWithBackend.query does with a query without a stream. */
  plain(window: number): Observable<DataQueryResponse> {
    return defer(() => {
      this.server.queries++;
      const { schema, data } = this.server.history(window, 0);
      const frame = dataFrameFromJSON({ schema: { fields: schema!.fields }, data });
      return of({ state: LoadingState.Done, data: [frame] }).pipe(delay(DELAY.query + DELAY.answer));
    });
  }

  /** The first viewer of a channel opens its buffer, and only the history of that viewer gets into it. */
  getDataStream(history: DataFrameJSON, options: StreamingFrameOptions): Observable<DataQueryResponse> {
    const id = history.schema!.meta!.channel!;
    const buffer = this.buffers.get(id) ?? this.openBuffer(id);
    return buffer.get(history, options);
  }

  private openBuffer(id: string): Buffer {
    const frame = StreamingDataFrame.empty({ maxLength: 100 });
    const changes = new ReplaySubject<unknown[][] | 'schema'>(1);
    let linger: ReturnType<typeof setTimeout> | undefined;

    const push = (packet: DataFrameJSON) => {
      const { schemaChanged } = frame.push(packet);
      changes.next(schemaChanged ? 'schema' : frame.getValuesFromLastPacket());
    };
    const channel = this.channels.get(id) ?? this.openChannel(id);
    if (channel.lastWithSchema) {
      push(channel.lastWithSchema);
    }
    const events = channel.events.subscribe(push);

    const shutdown = () => {
      changes.complete();
      this.buffers.delete(id);
      events.unsubscribe();
      after(250, () => channel.events.observed || this.closeChannel(id, channel));
    };

    const buffer: Buffer = {
      get: (history, options) => {
        clearTimeout(linger);
        if (frame.needsResizing(options)) {
          frame.resize(options);
        }
        if (!frame.hasAtLeastOnePacket()) {
          push(history);
        }
        return new Observable((out) => {
          let own: StreamingDataFrame | undefined; // only its values change from one packet to the next
          const sub = changes.subscribe({
            next: (change) => {
              if (!own || change === 'schema') {
                own = StreamingDataFrame.deserialize(frame.serialize(undefined, options));
              } else {
                own.pushNewValues(change);
              }
              out.next({ key: 'x', state: LoadingState.Streaming, data: [own] });
            },
            complete: () => out.complete(),
          });
          return () => {
            sub.unsubscribe();
            if (!changes.observed) {
              clearTimeout(linger);
              linger = after(5000, () => changes.observed || shutdown());
            }
          };
        });
      },
    };
    this.buffers.set(id, buffer);
    return buffer;
  }

  private openChannel(id: string): Channel {
    const events = new Subject<DataFrameJSON>();
    const channel: Channel = {
      events,
      viewer: {
        receive: (packet) => {
          if (packet.schema) {
            channel.lastWithSchema = packet;
          }
          events.next(packet);
        },
      },
    };
    this.channels.set(id, channel);
    this.subscribe(id, channel);
    return channel;
  }

  private subscribe(id: string, channel: Channel) {
    const { server } = this;
    after(DELAY.subscribe, () => {
      if (server.refuses || !this.online || this.channels.get(id) !== channel) {
        return;
      }
      const initialData = server.join(id, channel.viewer);
      after(DELAY.hub + DELAY.joined, () => initialData && channel.viewer.receive(initialData));
    });
  }

  private closeChannel(id: string, channel: Channel) {
    this.channels.delete(id);
    this.server.leave(id, channel.viewer);
    channel.events.complete();
  }

  /** The websocket is cut: what is sent meanwhile is lost. */
  disconnect() {
    this.online = false;
    this.channels.forEach((channel, id) => this.server.leave(id, channel.viewer));
  }

  reconnect() {
    this.online = true;
    this.channels.forEach((channel, id) => this.subscribe(id, channel));
  }
}
