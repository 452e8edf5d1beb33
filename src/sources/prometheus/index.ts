import { lazily } from '../../components/lazily';
import { promQL, type PromQLQuery } from '../../promql';
import type { Source } from '../source';
import type { PrometheusOptions } from './options';

export const prometheus: Source<PromQLQuery, PrometheusOptions> = {
  ...promQL,
  name: 'prometheus',
  label: 'Prometheus-compatible server',
  description: 'Prometheus, Mimir, Thanos, VictoriaMetrics and others. Asked in PromQL.',
  docs: 'prometheus.md',
  defaultQuery: () => ({ withStreaming: true, expr: '' }),
  sampleInterval: ({ prometheus }) => prometheus?.interval ?? 15_000,
  timeout: ({ prometheus }) => prometheus?.queryTimeout,
  Settings: lazily(async () => (await import('./PrometheusSection')).PrometheusSection),
};
