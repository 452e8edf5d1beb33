/** A number that a function takes beside the series. */
export interface Param {
  name: string;
  initial: string;
  /** May be left out. Only the last parameters may be optional. */
  optional?: boolean;
}

export interface Function {
  help: string;
  /**
   * What the function takes: samples over a range, one value per series, the series of an aggregation, or something
   * else that only code can express.
   */
  takes: 'range' | 'instant' | 'aggregation' | 'other';
  params: Param[];
  /** How many of the params come before the series. */
  before: number;
  /** The range that is suggested. Empty if the function takes none. */
  range: string;
}

const phi: Param = { name: 'Quantile', initial: '0.95' };

function range(help: string, range = '$__interval', params: Param[] = [], before = 0): Function {
  return { help, takes: 'range', params, before, range };
}
const overTime = (what: string, ...params: Param[]) =>
  range(`${what} of each series over the time.`, '$__interval', params, params.length);
const change = (help: string, ...params: Param[]) => range(help, '$__rate_interval', params);
const instant = (help: string, params: Param[] = [], before = 0): Function => ({
  help,
  takes: 'instant',
  params,
  before,
  range: '',
});
const aggregation = (help: string, ...params: Param[]): Function => ({
  help,
  takes: 'aggregation',
  params,
  before: params.length,
  range: '',
});
const other = (help: string): Function => ({ help, takes: 'other', params: [], before: 0, range: '' });

/** The functions and aggregations of PromQL that need no feature flag. */
export const FUNCTIONS: Record<string, Function> = {
  rate: change('Increase per second of a counter, on average over the time. Resets are accounted for.'),
  increase: change('Increase of a counter over the time. Resets are accounted for.'),
  irate: change('Increase per second of a counter, between its last two samples.'),
  delta: change('Difference between the ends of the time, for a gauge.'),
  idelta: change('Difference between the last two samples, for a gauge.'),
  deriv: change('Change per second of a gauge, by linear regression.'),
  changes: change('How often the value changed.'),
  resets: change('How often a counter was reset.'),
  predict_linear: range('Value of a gauge in so many seconds, by linear regression.', '1h', [
    { name: 'Seconds ahead', initial: '3600' },
  ]),
  avg_over_time: overTime('Average'),
  min_over_time: overTime('Smallest value'),
  max_over_time: overTime('Largest value'),
  sum_over_time: overTime('Sum'),
  count_over_time: overTime('Number of samples'),
  last_over_time: overTime('Last value'),
  quantile_over_time: overTime('Quantile', phi),
  stddev_over_time: overTime('Standard deviation'),
  stdvar_over_time: overTime('Variance'),
  present_over_time: range('1 for each series that had a sample in the time.'),
  absent_over_time: range('1 if there was no sample at all in the time.'),

  sum: aggregation('Sum of the series.'),
  avg: aggregation('Average of the series.'),
  min: aggregation('Smallest of the series.'),
  max: aggregation('Largest of the series.'),
  count: aggregation('Number of series.'),
  topk: aggregation('The series with the largest values, at each time anew.', { name: 'Series', initial: '5' }),
  bottomk: aggregation('The series with the smallest values, at each time anew.', { name: 'Series', initial: '5' }),
  quantile: aggregation('Quantile of the series.', phi),
  stddev: aggregation('Standard deviation of the series.'),
  stdvar: aggregation('Variance of the series.'),
  group: aggregation('1 for each group of series.'),

  abs: instant('Absolute value.'),
  ceil: instant('Rounded up to a whole number.'),
  floor: instant('Rounded down to a whole number.'),
  round: instant('Rounded to the nearest multiple.', [{ name: 'To', initial: '', optional: true }]),
  clamp: instant('Kept between two limits.', [
    { name: 'Min', initial: '0' },
    { name: 'Max', initial: '100' },
  ]),
  clamp_min: instant('Kept from falling below a limit.', [{ name: 'Min', initial: '0' }]),
  clamp_max: instant('Kept from rising above a limit.', [{ name: 'Max', initial: '100' }]),
  histogram_quantile: instant('Quantile of a histogram, from its buckets or as a native one.', [phi], 1),
  histogram_avg: instant('Average of the values in a native histogram.'),
  histogram_count: instant('Number of values in a native histogram.'),
  histogram_sum: instant('Sum of the values in a native histogram.'),
  histogram_stddev: instant('Standard deviation of the values in a native histogram.'),
  histogram_stdvar: instant('Variance of the values in a native histogram.'),
  absent: instant('1 if there is no such series.'),
  sgn: instant('1, 0 or -1, by the sign of the value.'),
  exp: instant('e to the power of the value.'),
  ln: instant('Natural logarithm.'),
  log2: instant('Binary logarithm.'),
  log10: instant('Decimal logarithm.'),
  sqrt: instant('Square root.'),
  timestamp: instant('Time of the sample, in Unix seconds.'),
  sort: instant('Sorted from the smallest value up. Without effect on a graph.'),
  sort_desc: instant('Sorted from the largest value down. Without effect on a graph.'),
  minute: instant('Minute of the hour of a Unix time, in UTC.'),
  hour: instant('Hour of the day of a Unix time, in UTC.'),
  day_of_week: instant('Day of the week of a Unix time, in UTC; 0 is Sunday.'),
  day_of_month: instant('Day of the month of a Unix time, in UTC.'),
  day_of_year: instant('Day of the year of a Unix time, in UTC.'),
  days_in_month: instant('Days that the month of a Unix time has, in UTC.'),
  month: instant('Month of a Unix time, in UTC.'),
  year: instant('Year of a Unix time, in UTC.'),
  deg: instant('Radians as degrees.'),
  rad: instant('Degrees as radians.'),
  sin: instant('Sine of radians.'),
  cos: instant('Cosine of radians.'),
  tan: instant('Tangent of radians.'),
  asin: instant('Arc sine, in radians.'),
  acos: instant('Arc cosine, in radians.'),
  atan: instant('Arc tangent, in radians.'),
  sinh: instant('Hyperbolic sine.'),
  cosh: instant('Hyperbolic cosine.'),
  tanh: instant('Hyperbolic tangent.'),
  asinh: instant('Inverse hyperbolic sine.'),
  acosh: instant('Inverse hyperbolic cosine.'),
  atanh: instant('Inverse hyperbolic tangent.'),

  count_values: other('Number of series with each value, which becomes a label: count_values("label", series).'),
  label_replace: other('A label made of another: label_replace(series, "to", "$1", "from", "(.*)").'),
  label_join: other('A label joined from others: label_join(series, "to", ",", "from", "from").'),
  histogram_fraction: other(
    'Share of a native histogram between two values: histogram_fraction(lower, upper, series).',
  ),
  scalar: other('The value of the only series, as a number.'),
  vector: other('A number as a series without labels.'),
  time: other('Unix time of the row, in seconds.'),
  pi: other('The number pi.'),
};
