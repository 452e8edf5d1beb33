import type { DataFrame } from '@grafana/data';
import { Rows } from './exact';

/**
 * Measures what the guard does with the first buffer of a stream, and with each packet of one row after it. With 2,000
 * rows of five series, a packet must take less than half a millisecond.
 */
const ROWS = 2000;
const STEP = 1000;
const BEGIN = 1_700_000_000_000;
const RUNS = 2000;

interface Buffer extends DataFrame {
  packetInfo: { number: number; length: number };
}

function buffer(times: number[]): Buffer {
  const series = Array.from({ length: 5 }, (_, i) => ({
    name: `s${i}`,
    type: 'number',
    labels: { shape: 'walk', series: `${i}` },
    config: { displayNameFromDS: `series ${i}` },
    values: times.map((t) => Math.sin(t + i)),
  }));
  return {
    meta: { custom: { data: '', step: STEP, window: (ROWS - 1) * STEP, first: 0 } },
    fields: [{ name: 'time', type: 'time', config: { interval: STEP }, values: times }, ...series],
    length: times.length,
    packetInfo: { number: 1, length: times.length },
  } as unknown as Buffer;
}

/** Adds a row as Grafana does, and removes what is older than the window and 30 s. */
function push(frame: Buffer) {
  const { fields, packetInfo } = frame;
  const time = BEGIN + (ROWS + packetInfo.number - 1) * STEP;
  fields.forEach(({ values }, i) => {
    values.push(i ? Math.sin(time + i) : time);
    values.splice(0, Math.max(0, values.length - ROWS - 230));
  });
  Object.assign(packetInfo, { number: packetInfo.number + 1, length: 1 });
}

const inOrder = Array.from({ length: ROWS }, (_, i) => BEGIN + i * STEP);
const overlapped = inOrder.flatMap((t, i) => (i % 100 === 99 ? inOrder.slice(i - 9, i + 1) : t)); // a join in 100 rows

for (const [name, times] of Object.entries({ 'in order': inOrder, 'with overlaps': overlapped })) {
  const frame = buffer([...times]);
  let rows = new Rows();
  const read = () => {
    rows.take(frame);
    if (rows.read(frame, 'A').rows?.length !== ROWS) {
      throw new Error('not exact');
    }
  };
  measure(`first buffer, ${name}`, () => (rows = new Rows()), read);
  measure(`packet, ${name}`, () => push(frame), read);
}

function measure(name: string, prepare: () => unknown, run: () => void) {
  const took: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    prepare();
    const began = performance.now();
    run();
    took.push(performance.now() - began);
  }
  took.sort((a, b) => a - b);
  const [median, most] = [0.5, 0.99].map((share) => took[Math.floor(share * RUNS)]!.toFixed(3));
  console.log(`${ROWS} rows, 5 series, ${name}: median ${median} ms, 99 % below ${most} ms`);
}
