import { AnnotationEvent, DataFrame, Field, textUtil, ValueMapping } from '@grafana/data';
import { sortBy } from 'lodash';

/** How rows become events. In all texts, variables and `{{label}}` are replaced by their values. */
export interface EventOptions {
  /** By default the name of the series. */
  title?: string;
  /** Not used for states, whose text is the states themselves. */
  text?: string;
  /** Separated by commas. A tag whose label the series does not have is left out. */
  tags?: string;
  /** For states: a region while each of them holds, instead of an event at each change. */
  regions?: boolean;
  /** The time between two rows, such as `1m`, by default what Grafana computes from the width of the window. */
  step?: string;
}

/** Grafana draws each event as an element of its own, and thousands of them stop the browser. */
export const MOST_EVENTS = 1000;

/** `meta.custom` of a frame that stands for rows that could not be read. */
export interface Failure {
  failure: string;
  at: number;
}

/** Puts the values of variables into a text, each of them as `write` writes it. */
type Replace = (text: string, write: (value: unknown) => string) => string;

/**
 * The events of an answer in the order of time, those that end last if there are too many. The times of regions are those of
 * their first and last row, so a region that has not ended lasts until the newest row.
 */
export function eventsOf(frames: DataFrame[], options: EventOptions = {}, replace: Replace = (text) => text) {
  const of = textsOf(options, replace);
  const events = frames.flatMap((frame) => {
    const [time, ...series] = frame.fields;
    return series.flatMap((field) => {
      const texts = of(field);
      return spansOf(field, options.regions).map(({ first, last, text }): AnnotationEvent => {
        const at = { time: time!.values[first], timeEnd: time!.values[last] };
        return { ...at, ...texts, ...(text !== undefined && { text: textUtil.escapeHtml(text) }) };
      });
    });
  });
  return [...failuresOf(frames), ...newest(events, frames)];
}

/** Rows that become one event or, if there are several, one region. */
interface Span {
  first: number;
  last: number;
  text?: string;
}

function spansOf({ values, config }: Field, regions = false): Span[] {
  const states = config.mappings && textsByNumber(config.mappings);
  if (!states) {
    return runsOf(values.map((value) => value > 0 || undefined));
  }
  const runs = runsOf(values.map((value) => states.get(String(value))));
  if (regions) {
    // A state holds until the next row says otherwise.
    return runs.map(({ first, last, key }) => ({ first, last: Math.min(last + 1, values.length - 1), text: key }));
  }
  return runs.flatMap(({ first, key }, i) => {
    const before = runs[i - 1]?.key;
    return before === undefined || before === key ? [] : [{ first, last: first, text: `${before} → ${key}` }];
  });
}

/** Rows with the same key that follow one another. Every time of the grid has a row, so there is none between them. */
function runsOf<K>(keys: Array<K | undefined>) {
  const runs: Array<{ first: number; last: number; key: K }> = [];
  keys.forEach((key, row) => {
    const open = runs.at(-1);
    if (key === undefined) {
      return;
    }
    if (open?.last === row - 1 && open.key === key) {
      open.last = row;
    } else {
      runs.push({ first: row, last: row, key });
    }
  });
  return runs;
}

/** The texts that numbers stand for in the format `states`. */
const textsByNumber = (mappings: ValueMapping[]) =>
  new Map(
    mappings.flatMap(({ options }) =>
      Object.entries(options as Record<string, { text?: string }>).map(([number, { text = '' }]) => [number, text]),
    ),
  );

/** A label whose value is put in, or a mark for the value of a variable. */
const PLACEHOLDER = /\{\{\s*([^{}\s]+)\s*\}\}|\0(\d+)\0/g;
const MARK = /\0(\d+)\0/g;

/**
 * The texts of the events of a series. Grafana shows titles and texts as HTML, which values of labels and of variables
 * are not. Values are put in last, so that nothing in them is taken for a label, or separates tags.
 */
function textsOf({ title = '', text = '', tags = '' }: EventOptions, replace: Replace) {
  const values: string[] = [];
  const mark = (value: unknown) =>
    (Array.isArray(value) ? value : [value]).map((one) => `\0${values.push(String(one)) - 1}\0`).join(',');
  const [titleFormat, textFormat, tagFormats] = [title, text, tags].map((format) => replace(format, mark)) as [
    string,
    string,
    string,
  ];
  const valueAt = (index: string) => values[Number(index)]!;
  const filled = (format: string, labelled: (label: string) => string, write: (value: string) => string) =>
    format.replace(PLACEHOLDER, (_, label: string | undefined, index: string) =>
      write(
        label === undefined ? valueAt(index) : labelled(label.replace(MARK, (_, within: string) => valueAt(within))),
      ),
    );

  return ({ name, labels = {}, config }: Field) => {
    const series = config.displayNameFromDS || name;
    const legend = (format: string) => {
      let named = false; // as in legends, the first label that is missing is replaced by the name of the series
      const labelled = (label: string) => {
        const value = labels[label] ?? (named ? '' : series);
        named ||= !(label in labels);
        return value;
      };
      return filled(format, labelled, (value) => textUtil.escapeHtml(value));
    };
    return {
      title: titleFormat ? legend(titleFormat) : textUtil.escapeHtml(series),
      text: legend(textFormat),
      tags: tagFormats
        .split(',')
        .map((format) =>
          filled(
            format,
            (label) => labels[label] ?? '',
            (value) => value,
          ).trim(),
        )
        .filter(Boolean),
    };
  };
}

function newest(events: AnnotationEvent[], frames: DataFrame[]): AnnotationEvent[] {
  const older = events.length - MOST_EVENTS;
  if (older <= 0) {
    return sortBy(events, 'time');
  }
  // By their ends: what goes on until now may have begun before everything else.
  const shown = sortBy(events, 'timeEnd').slice(older);
  const begin = Math.min(...frames.map(({ fields }) => fields[0]?.values[0] ?? Infinity));
  return [
    {
      time: begin,
      timeEnd: shown[0]!.timeEnd,
      title: `${older} older events are not shown`,
      text: `An annotation shows its newest ${MOST_EVENTS}. For the others choose a shorter time range, a longer step, or a query with fewer series.`,
      tags: [],
    },
    ...sortBy(shown, 'time'),
  ];
}

const failuresOf = (frames: DataFrame[]) =>
  frames.flatMap(({ meta }): AnnotationEvent[] => {
    const { failure, at }: Partial<Failure> = meta?.custom ?? {};
    return failure === undefined
      ? []
      : [{ time: at, timeEnd: at, title: 'Events could not be read', text: textUtil.escapeHtml(failure), tags: [] }];
  });
