import { DataFrame, FieldType } from '@grafana/data';
import { exact, Wanted } from './exact';
import { Terms } from './types';

const STEP = 10;

/** A buffer with a row at each of the times. The value of a row is its index. */
function buffer(times: number[], terms: Partial<Terms> = {}, interval = STEP): DataFrame {
  return {
    refId: 'someone',
    meta: { custom: { data: '', step: STEP, window: 50, first: 0, ...terms } },
    fields: [
      { name: 'time', type: FieldType.time, config: { interval }, values: times },
      { name: 'value', type: FieldType.number, labels: { a: 'b' }, config: {}, values: times.map((_, i) => i) },
    ],
    length: times.length,
  };
}

describe('exact', () => {
  it.each<[string, number[], Partial<Terms>, number[], number[]]>([
    ['rows in order', [0, 10, 20, 30, 40, 50], {}, [0, 10, 20, 30, 40, 50], [0, 1, 2, 3, 4, 5]],
    ['the newest window only', [10, 20, 30, 40, 50, 60, 70], {}, [20, 30, 40, 50, 60, 70], [1, 2, 3, 4, 5, 6]],
    ['the last of equal times', [0, 10, 20, 30, 40, 50, 30, 40], {}, [0, 10, 20, 30, 40, 50], [0, 1, 2, 6, 7, 5]],
    ['an overlap that goes on', [10, 20, 30, 40, 30, 40, 50, 60], {}, [10, 20, 30, 40, 50, 60], [0, 1, 4, 5, 6, 7]],
    ['a row that came late', [0, 10, 20, 40, 50, 30], {}, [0, 10, 20, 30, 40, 50], [0, 1, 2, 5, 3, 4]],
    ['fewer rows where no more were promised', [30, 40, 50], { first: 30 }, [30, 40, 50], [0, 1, 2]],
    ['nothing from before the promise', [10, 30, 40, 50], { first: 30 }, [30, 40, 50], [1, 2, 3]],
    ['no rows where none were promised', [10, 20], { first: 30 }, [], []],
    ['rows of before 1970', [-30, -20, -10], { first: undefined, window: 20 }, [-30, -20, -10], [0, 1, 2]],
    ['no rows yet', [], {}, [], []],
  ])('reads %s', (_, times, terms, wantTimes, wantValues) => {
    const { rows } = exact(buffer(times, terms), 'A');
    expect(rows?.fields.map((f) => f.values)).toEqual([wantTimes, wantValues]);
    expect(rows?.length).toBe(wantTimes.length);
  });

  it.each<[string, Partial<Wanted>, number[]]>([
    ['from a time on', { from: 20 }, [20, 30, 40, 50]],
    ['from a time between two rows on', { from: 21 }, [30, 40, 50]],
    ['from a time on that is not reached', { from: 60 }, []],
    ['no more than the window', { from: -10 }, [0, 10, 20, 30, 40, 50]],
    ['the newest of a length and the row at its start', { length: 20 }, [30, 40, 50]],
    ['the newest of an uneven length', { length: 25 }, [30, 40, 50]],
    ['until a time', { length: 20, to: 35 }, [10, 20, 30]],
    ['from a time until another', { from: 20, to: 40 }, [20, 30, 40]],
  ])('reads what is wanted: %s', (_, wanted, want) => {
    const { rows, doubt } = exact(buffer([0, 10, 20, 30, 40, 50]), 'A', { length: 50, reach: 50, ...wanted });
    expect(doubt).toBeUndefined();
    expect(rows?.fields[0]?.values).toEqual(want);
  });

  it('tells when the range outgrows the window', () => {
    const outgrown = (wanted: Wanted) => exact(buffer([0, 10, 20, 30, 40, 50]), 'A', wanted).outgrown;
    expect(outgrown({ length: 50, reach: 50 })).toBe(false);
    expect(outgrown({ length: 51, reach: 51 })).toBe(true);
    expect(outgrown({ from: 15, length: 50, reach: 50 })).toBe(false);
    expect(outgrown({ from: 15, length: 51, reach: 51 })).toBe(true);
  });

  it.each<[string, DataFrame, string, boolean]>([
    ['a row between others is missing', buffer([0, 10, 20, 40, 50]), 'hole', true],
    ['one is missing that no overlap reaches', buffer([0, 30_000], { window: 30_000 }), 'hole', false],
    ['the oldest rows are missing', buffer([30, 40, 50]), 'short', false],
    ['the oldest promised rows are missing', buffer([30, 40, 50], { first: 20 }), 'short', false],
    ['the time has another interval', buffer([10, 20], {}, 20), 'fields', false],
    ['the interval is gone', buffer([10, 20], { step: 0 }, 0), 'fields', false],
    ['there are no terms', { ...buffer([10, 20]), meta: undefined }, 'fields', false],
    ['there are no fields', { ...buffer([]), fields: [] }, 'fields', false],
  ])('doubts when %s', (_, frame, doubt, mendable) => {
    const reading = exact(frame, 'A');
    expect([reading.doubt, reading.mendable ?? false, reading.rows]).toEqual([doubt, mendable, undefined]);
  });

  it('returns a copy under its own refId', () => {
    const frame = buffer([10, 20, 30, 40, 50], { first: 10 });
    const rows = exact(frame, 'A').rows!;
    frame.fields[1]!.values[0] = 99;
    frame.fields[1]!.config.unit = 'late';
    expect(rows.refId).toBe('A');
    expect(rows.fields[1]).toMatchObject({ name: 'value', labels: { a: 'b' }, config: {} });
    expect(rows.fields[1]!.config.unit).toBeUndefined();
    expect(rows.fields[1]!.values[0]).toBe(0);
  });

  it('leaves out the state that a panel has added to the fields', () => {
    const frame = buffer([10, 20, 30, 40, 50], { first: 10 });
    frame.fields[1]!.state = { displayName: 'of before', calcs: { last: 9 } };
    exact(frame, 'A').rows!.fields.forEach(({ state }) => expect(state).toBeUndefined());
    expect(frame.fields[1]!.state).toBeDefined();
  });

  it('keeps rows without a value', () => {
    const frame = buffer([10, 20, 30, 40, 50], { first: 10 });
    frame.fields[1]!.values = [1, null, 3, null, 5];
    expect(exact(frame, 'A').rows!.fields[1]!.values).toEqual([1, null, 3, null, 5]);
  });
});
