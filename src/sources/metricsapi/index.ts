import { lazily } from '../../components/lazily';
import { toNumber } from '../interpolate';
import type { Source } from '../source';
import type { MetricsAPIOptions } from './options';
import { DEFAULTS, type MetricsAPIQuery } from './query';

export const metricsAPI: Source<MetricsAPIQuery, MetricsAPIOptions> = {
  name: 'metrics-api',
  label: 'Metrics API',
  description: 'An HTTP service of your own, with three requests.',
  docs: 'metrics-api.md',
  key: 'metricName',
  defaultQuery: () => ({ withStreaming: true, metricName: '' }),
  isComplete: ({ metricName }) => Boolean(metricName?.trim()),
  text: (query) => {
    const { aggregation, metricName } = { ...DEFAULTS, ...query };
    return `${aggregation} of ${metricName}`;
  },
  interpolate: (query, { text }) => {
    const { metricName, queryText, aggregation, minStep } = { ...DEFAULTS, ...query };
    return {
      ...query,
      metricName: text(metricName),
      ...(queryText && { queryText: text(queryText) }),
      aggregation: text(aggregation),
      minStep: toNumber(minStep, text),
    };
  },
  QueryEditor: lazily(async () => (await import('./MetricsAPIEditor')).MetricsAPIEditor),
  Settings: lazily(async () => (await import('./MetricsAPISection')).MetricsAPISection),
};
