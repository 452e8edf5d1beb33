import type { DataFrame, Field, StreamingDataFrame } from '@grafana/data';
import type { Terms } from './types';

/**
 * What a stream's buffer holds: exact rows, or a reason to doubt it.
 *
 * - `fields`: the fields are not those of an answer. With these the back end says that it can no longer serve the path.
 * - `short`: the oldest rows are missing. They were dropped and will not come again.
 * - `hole`: a row between others is missing. It is mendable while it is new enough for the overlap that joins repeat.
 */
export interface Reading {
  rows?: DataFrame;
  doubt?: 'fields' | 'short' | 'hole';
  mendable?: boolean;
  /** The range needs a longer window than the stream has, or will soon. */
  outgrown?: boolean;
}

/**
 * Which rows a range has now: those from a fixed time on, or else the newest ones within a length. The fixed time and
 * both ends of the length belong to the range. All in milliseconds.
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
 * The rows of a buffer in which rows may be repeated or out of order: one row per time, in order. Of several rows with
 * the same time the last one counts. The place of a row follows from its time, so nothing is sorted or searched. Of
 * each packet only its own rows are read, however many rows the buffer has.
 */
export class Rows {
  private fields: Field[] = [];
  private terms?: Terms;
  private packet?: number;
  /** The time of the first place in the columns. */
  private begin = 0;
  private newest = -Infinity;
  /** One for each field. */
  private columns: unknown[][] = [];
  /** The times without a row. */
  private readonly holes = new Set<number>();

  /** Takes over what is new in the buffer: its last packet, or the whole buffer if more than that has changed. */
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

  /** The wanted rows, by default the newest window. They are a copy, because Grafana keeps what it is given. */
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
    // Older rows will not be wanted any more.
    this.begin = Math.max(first, newest - window);
    this.columns = this.fields.map(() => []);
    this.holes.clear();
    this.add(0);
  }

  /** Puts the rows of the buffer from index `at` on into their places. */
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
        this.restart(); // none of the rows so far is wanted any more
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
          column.push(NaN); // a number, because arrays that hold only numbers are fast
        }
        if (place >= 0) {
          column[place] = values[from + row];
        }
      }
    }
    this.trim();
  }

  /** Removes rows that are older than the window, many at a time, because each removal moves the rest. */
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
