import type { DataFrame, Field, StreamingDataFrame } from '@grafana/data';
import type { Terms } from './types';

/**
 * What a stream's buffer holds: exact rows, or a reason to doubt it.
 *
 * - `fields`: not the fields of an answer. The back end says in this way that it can no longer serve the path.
 * - `short`: the oldest rows are missing. They were dropped and will not come again.
 * - `hole`: a row between others is missing. It is mendable while the overlap that every join repeats reaches it.
 */
export interface Reading {
  rows?: DataFrame;
  doubt?: 'fields' | 'short' | 'hole';
  mendable?: boolean;
  /** The range needs a longer window than the stream has, or will soon. */
  outgrown?: boolean;
}

/**
 * The rows that a range has as of now: those from a time on, or else those of a length up to the newest. The time itself
 * and both ends of the length are part of the range. All in milliseconds.
 */
export interface Wanted {
  from?: number;
  length: number;
  /** No rows after this time. */
  to?: number;
  /** How far before now the range begins, or will begin soon. */
  reach: number;
}

/** A StreamingDataFrame, which counts its packets, or any other frame. */
type Buffer = DataFrame & { packetInfo?: Pick<StreamingDataFrame['packetInfo'], 'number' | 'length'> };

/**
 * The rows of a buffer in which rows repeat and go back: one per time, the last one wins, in order. A row's place
 * follows from its time, so nothing is sorted or searched. Of a packet only its own rows are read, however many the
 * buffer has.
 */
export class Rows {
  private fields: Field[] = [];
  private terms?: Terms;
  private packet?: number;
  /** The time of the first place. */
  private begin = 0;
  private newest = -Infinity;
  /** One for each field. */
  private columns: unknown[][] = [];
  /** The times whose place has no row. */
  private readonly holes = new Set<number>();

  /** Takes in what is new in the buffer: its last packet, or all of it when more than that has changed. */
  take({ fields, meta, packetInfo }: Buffer) {
    const terms = meta?.custom as Terms | undefined;
    const same = fields === this.fields && terms === this.terms;
    const packets = same && packetInfo ? packetInfo.number - this.packet! : undefined;
    Object.assign(this, { fields, terms, packet: packetInfo?.number });
    if (packets === 1) {
      this.add(this.times.length - packetInfo!.length);
    } else if (packets !== 0) {
      this.restart();
    }
  }

  /** The wanted rows, or else the newest window of them. They are a copy, for Grafana keeps what it is given. */
  read(buffer: Buffer, refId: string, wanted?: Wanted): Reading {
    const { newest, begin } = this;
    const { step = 0, window = 0, first = -Infinity } = this.terms ?? {};
    if (!(step > 0) || buffer.fields[0]?.config.interval !== step) {
      return { doubt: 'fields' };
    }
    const { from, length: range, to = Infinity, reach } = wanted ?? { length: window, reach: window };
    const last = Math.min(newest, Math.floor(to / step) * step);
    const start = Math.ceil((from ?? last - range) / step) * step;
    const oldest = Math.max(first, newest - window, start);
    const length = last < oldest || newest === -Infinity ? 0 : (last - oldest) / step + 1;
    const outgrown = reach > window;

    let missing = Infinity;
    for (const time of this.holes) {
      missing = time >= oldest && time <= last ? Math.min(missing, time) : missing;
    }
    if (missing === oldest) {
      return { doubt: 'short', outgrown };
    }
    if (missing < Infinity) {
      return { doubt: 'hole', mendable: missing > newest - Math.max(10 * step, 10_000), outgrown };
    }
    const place = (oldest - begin) / step;
    const fields = buffer.fields.map((field, i) => ({
      ...field,
      config: { ...field.config },
      values: length ? this.columns[i]!.slice(place, place + length) : [],
      state: undefined,
    }));
    return { rows: { name: buffer.name, refId, meta: buffer.meta, fields, length }, outgrown };
  }

  private get times(): number[] {
    return this.fields[0]?.values ?? [];
  }

  private restart() {
    const { step = 0, window = 0, first = -Infinity } = this.terms ?? {};
    let newest = -Infinity;
    for (const time of this.times) {
      newest = time > newest && time % step === 0 ? time : newest;
    }
    this.newest = newest;
    // What is older now will not be wanted later.
    this.begin = Math.max(first, newest - window);
    this.columns = this.fields.map(() => []);
    this.holes.clear();
    this.add(0);
  }

  /** Puts the buffer's rows from one on into their places. */
  private add(at: number) {
    const { times, begin, holes } = this;
    const { step = 0, window = 0 } = this.terms ?? {};
    const from = Math.max(0, at);
    const places = new Int32Array(times.length - from).fill(-1);
    let end = this.columns[0]?.length ?? 0;
    let { newest } = this;
    for (let row = from; row < times.length; row++) {
      const time = times[row]!;
      if (time < begin || time % step !== 0) {
        continue;
      }
      if (time - newest > window) {
        this.restart(); // nothing from before is wanted any more
        return;
      }
      const place = (places[row - from] = (time - begin) / step);
      for (; end < place; end++) {
        holes.add(begin + end * step);
      }
      end = Math.max(end, place + 1);
      newest = Math.max(newest, time);
      if (holes.size) {
        holes.delete(time);
      }
    }
    this.newest = newest;
    for (const [i, column] of this.columns.entries()) {
      const { values } = this.fields[i]!;
      for (let row = 0; row < places.length; row++) {
        const place = places[row]!;
        while (column.length < place) {
          column.push(NaN); // a number, for an array of numbers is fast
        }
        if (place >= 0) {
          column[place] = values[from + row];
        }
      }
    }
    this.trim();
  }

  /** Gives up what is older than the window, a good deal at a time. */
  private trim() {
    const { step = 0, window = 0 } = this.terms ?? {};
    const old = Math.floor((this.newest - window - this.begin) / step);
    if (old > window / step + 1000) {
      this.columns.forEach((column) => column.splice(0, old));
      this.begin += old * step;
      this.holes.forEach((time) => time < this.begin && this.holes.delete(time));
    }
  }
}

/** The rows of a buffer that is read once. */
export function exact(buffer: DataFrame, refId: string, wanted?: Wanted): Reading {
  const rows = new Rows();
  rows.take(buffer);
  return rows.read(buffer, refId, wanted);
}

/** What makes two fields the same series. */
export const identity = ({ name, type, labels, config }: Field) => ({ name, type, labels, config });
