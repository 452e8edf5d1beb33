import { FieldSet, Grid } from '@grafana/ui';
import React from 'react';
import { ChoiceField, DurationField, TextField } from '../../components/config/fields';
import { addressError, withScheme } from '../../components/config/address';
import { HTTPSection } from '../../components/config/HTTPSection';
import { PartProps, withOptions } from '../../components/config/settings';
import type { PrometheusOptions } from './options';
import { DAY, MINUTE, SECOND } from '../../components/config/units';

const METHODS = [
  { value: 'POST' as const, label: 'POST', description: 'Takes queries of any length.' },
  { value: 'GET' as const, label: 'GET', description: 'For servers and proxies that allow nothing else.' },
];

export function PrometheusSection({ settings, onChange }: PartProps) {
  const { httpMethod, delay, queryTimeout, interval, lookback } = settings.jsonData.prometheus ?? {};
  const disabled = settings.readOnly;
  const save = (change: PrometheusOptions['prometheus']) =>
    onChange(withOptions(settings, { prometheus: { ...settings.jsonData.prometheus, ...change } }));

  return (
    <>
      <FieldSet label="Connection">
        <TextField
          label="URL"
          description="Of the server, without /api/v1. Mimir has it below /prometheus."
          placeholder="http://prometheus:9090"
          required
          value={settings.url || undefined}
          disabled={disabled}
          complete={(text) => withScheme(text, 'http')}
          check={(text) => addressError([text], ['http', 'https'], 'http://prometheus:9090')}
          onChange={(url = '') => onChange({ ...settings, url })}
        />
      </FieldSet>
      <HTTPSection settings={settings} onChange={onChange} />
      <FieldSet label="Queries">
        <Grid columns={{ xs: 1, md: 2 }} columnGap={4}>
          <DurationField
            label="Scrape interval"
            description="How often the server takes samples. $__rate_interval is four times that or more."
            value={interval}
            least={100}
            most={DAY}
            fallback={15 * SECOND}
            disabled={disabled}
            onChange={(value) => save({ interval: value })}
          />
          <DurationField
            label="Delay"
            description="How long after its time a row is final. Later samples show with the next reload."
            placeholder="From the data's own interval"
            width={32}
            value={delay}
            least={1}
            most={DAY}
            disabled={disabled}
            onChange={(value) => save({ delay: value })}
          />
          <DurationField
            label="Lookback"
            description="As the server is set up: how long a series keeps its last value."
            value={lookback}
            least={SECOND}
            most={30 * DAY}
            fallback={5 * MINUTE}
            disabled={disabled}
            onChange={(value) => save({ lookback: value })}
          />
          <DurationField
            label="Query timeout"
            description="After which the server gives up a query."
            value={queryTimeout}
            least={SECOND}
            most={10 * MINUTE}
            fallback={30 * SECOND}
            disabled={disabled}
            onChange={(value) => save({ queryTimeout: value })}
          />
        </Grid>
        <ChoiceField
          label="HTTP method"
          options={METHODS}
          value={httpMethod ?? 'POST'}
          disabled={disabled}
          onChange={(value) => save({ httpMethod: value })}
        />
      </FieldSet>
    </>
  );
}
