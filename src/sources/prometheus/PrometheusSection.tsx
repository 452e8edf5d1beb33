import { FieldSet } from '@grafana/ui';
import React from 'react';
import { BoundedFields, type BoundedSetting, ChoiceField, TextField } from '../../components/config/fields';
import { addressError, withScheme } from '../../components/config/address';
import { HTTPSection } from '../../components/config/HTTPSection';
import { PartProps, withOptions } from '../../components/config/settings';
import type { PrometheusOptions } from './options';
import { DAY, MINUTE, SECOND } from '../../components/config/units';

const METHODS = [
  { value: 'POST' as const, label: 'POST', description: 'Takes queries of any length.' },
  { value: 'GET' as const, label: 'GET', description: 'For servers and proxies that allow nothing else.' },
];

const FIELDS: Array<BoundedSetting<'interval' | 'delay' | 'lookback' | 'queryTimeout'>> = [
  {
    name: 'interval',
    kind: 'duration',
    label: 'Scrape interval',
    description: 'How often the server takes samples. $__rate_interval is four times that or more.',
    least: 100,
    most: DAY,
    fallback: 15 * SECOND,
  },
  {
    name: 'delay',
    kind: 'duration',
    label: 'Delay',
    description: 'How long after its time a row is final. Later samples show with the next reload.',
    placeholder: "From the data's own interval",
    width: 32,
    least: 1,
    most: DAY,
  },
  {
    name: 'lookback',
    kind: 'duration',
    label: 'Lookback',
    description: 'As the server is set up: how long a series keeps its last value.',
    least: SECOND,
    most: 30 * DAY,
    fallback: 5 * MINUTE,
  },
  {
    name: 'queryTimeout',
    kind: 'duration',
    label: 'Query timeout',
    description: 'After which the server gives up a query.',
    least: SECOND,
    most: 10 * MINUTE,
    fallback: 30 * SECOND,
  },
];

export function PrometheusSection({ settings, onChange }: PartProps) {
  const { httpMethod } = settings.jsonData.prometheus ?? {};
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
        <BoundedFields fields={FIELDS} values={settings.jsonData.prometheus} disabled={disabled} onChange={save} />
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
