import { Page } from '@playwright/test';
import { Options, Query } from '../src/types';

/** A kind of data source, how one is set up, and a query that has rows. */
export interface Source {
  name: string;
  /** What the settings page calls it. */
  label: string;
  /** Enters on the settings page what this source needs, after it was chosen there. */
  fill: (page: Page) => Promise<void>;
  /** The same settings, for the API of Grafana. */
  settings: () => { url?: string; jsonData: Options };
  query: Partial<Query>;
}

/** An address of a server, as Grafana reaches it. */
function address(variable: string, what: string): string {
  const value = process.env[variable];
  if (!value) {
    throw new Error(`Set ${variable} to the address of ${what}, as Grafana reaches it, or run: go tool mage e2e`);
  }
  return value;
}

const prometheus = () => address('CONTINUUM_PROMETHEUS', 'a Prometheus that scrapes itself');
const metricsAPI = () =>
  address('CONTINUUM_METRICS_API', 'the example of a metrics API (go run ./examples/metrics-api)');

export const SOURCES: Source[] = [
  {
    name: 'signal',
    label: 'Signal',
    fill: () => Promise.resolve(),
    settings: () => ({ jsonData: { source: 'signal' } }),
    query: { shape: 'walk', lowerLimit: 0, upperLimit: 100, tickInterval: 500 },
  },
  {
    name: 'recorder',
    label: 'Recorder',
    fill: () => Promise.resolve(),
    settings: () => ({ jsonData: { source: 'recorder' } }),
    query: { expr: 'sum by (mode) (rate(node_cpu_seconds_total{mode!="idle"}[30s]))' },
  },
  {
    name: 'prometheus',
    label: 'Prometheus-compatible server',
    fill: (page) => page.getByLabel('URL').fill(prometheus()),
    settings: () => ({ url: prometheus(), jsonData: { source: 'prometheus', prometheus: { interval: 1000 } } }),
    query: { expr: 'rate(prometheus_tsdb_head_samples_appended_total[30s])' },
  },
  {
    name: 'metrics-api',
    label: 'Metrics API',
    fill: (page) => page.getByLabel('Endpoint').fill(metricsAPI()),
    settings: () => ({ jsonData: { source: 'metrics-api', metricsApi: { endpoint: metricsAPI() } } }),
    query: { metricName: 'temperature_hall' },
  },
];

/** Settings of a recorder of what is pushed, with every text as a state. */
export const PUSHED_STATES: Options = {
  source: 'recorder',
  recorder: { noHost: true, inputs: [{ type: 'push', name: 'push', formats: ['influx'], states: ['*'] }] },
};
