import type { Recipe } from '../sources/source';
import type { PromQLQuery } from './query';

const recipe = (title: string, expr: string, why: string): Recipe<PromQLQuery> => ({
  title,
  why,
  query: { withStreaming: true, expr },
});

/**
 * Recipes for sensors and machines. The node_ metrics exist wherever this machine is recorded; the others stand for the
 * user's own.
 */
export const recipes: Array<Recipe<PromQLQuery>> = [
  recipe(
    'How busy the processors are',
    'sum by (mode) (rate(node_cpu_seconds_total{mode!="idle"}[$__rate_interval])) / scalar(count(count by (cpu) (node_cpu_seconds_total)))',
    'A counter goes up for ever; its rate is what happens per second.',
  ),
  recipe(
    'How much memory is in use',
    '1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes',
    'Two metrics with equal labels are divided series by series.',
  ),
  recipe(
    'When the disk is full',
    'predict_linear(node_filesystem_avail_bytes[6h], 86400)',
    'What is free in a day if it goes on as in the last six hours. Below 0 it is full by then.',
  ),
  recipe(
    'What comes over the network',
    'rate(node_network_receive_bytes_total[$__rate_interval])',
    'Bytes per second.',
  ),
  recipe(
    'A sensor without its noise',
    'avg_over_time(temperature[5m])',
    'The mean of the five minutes before each row. Also min_over_time, max_over_time, quantile_over_time.',
  ),
  recipe(
    'Power from an energy meter',
    'rate(energy_kwh[5m]) * 3600 * 1000',
    'Watts from kilowatt-hours. A meter that begins anew at 0 is understood.',
  ),
  recipe(
    'Energy of a day',
    'increase(energy_kwh[1d])',
    'How much the meter went up in the day before each row. For one bar a day set the minimum step to 1d.',
  ),
  recipe('Warmer than yesterday', 'temperature - temperature offset 1d', 'Each row less that of the day before.'),
  recipe(
    'The share of time that something was on',
    'avg_over_time(door[1d])',
    'For values that are 0 and 1. Also for the share of a day that a device could be reached.',
  ),
  {
    title: 'What state a machine is in',
    why: 'The texts of a set of states over time: for a State timeline. Other sets, such as kube_pod_status_phase, need the label that has the states.',
    query: { withStreaming: true, expr: 'pump_state', format: 'states' },
  },
  recipe(
    'The share of a day in a state',
    'avg_over_time(pump_state{pump_state="running"}[1d])',
    'Each state is a series of its own, 1 while it holds and 0 otherwise. Alert rules take it as it is.',
  ),
  recipe(
    'Which device is silent',
    'time() - max_over_time(timestamp(temperature)[1d:1m]) > 600',
    'Seconds since a device was last heard of, of those that have been silent for ten minutes. Good for an alert rule.',
  ),
];
