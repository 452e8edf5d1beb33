import { QueryEditorProps } from '@grafana/data';
import { InlineField, Input, Stack } from '@grafana/ui';
import { isEqual } from 'lodash';
import React, { KeyboardEvent, useState } from 'react';
import { DataSource } from '../../datasource';
import { AGGREGATIONS, DEFAULT_METRIC_QUERY, Options, Query } from '../../types';
import { StreamingSwitch } from '../../components/StreamingSwitch';
import { Choice, found, optionsOf } from '../../components/Choice';

const TEXTS: Array<{ name: keyof Texts; label: string; width: number; tooltip: string; placeholder?: string }> = [
  {
    name: 'queryText',
    label: 'Query',
    width: 40,
    tooltip: 'Passed on to the service as it is, which may narrow the metric down by it.',
  },
  {
    name: 'minStep',
    label: 'Min step (ms)',
    width: 14,
    tooltip: 'The shortest time between two rows, and how often at most the service is asked for its newest point.',
    placeholder: `${DEFAULT_METRIC_QUERY.minStep}`,
  },
  {
    name: 'legend',
    label: 'Legend',
    width: 28,
    tooltip: 'The name of the series. {{label}} is replaced by the value of the label.',
    placeholder: '{{label}}',
  },
];

/** The fields that are typed, as typed. */
type Texts = Record<'queryText' | 'minStep' | 'legend', string>;

const toTexts = ({ queryText = '', minStep = '', legend = '' }: Query): Texts => ({
  queryText,
  minStep: `${minStep}`,
  legend,
});

const aggregations = optionsOf(AGGREGATIONS);

/** Metric and aggregation are saved and run as they are chosen, the other fields on blur and on Enter. */
export function MetricsAPIEditor({
  datasource,
  query,
  onChange,
  onRunQuery,
}: QueryEditorProps<DataSource, Query, Options>) {
  const saved = toTexts(query);
  const [draft, setDraft] = useState(saved);
  const [seen, setSeen] = useState(saved);
  if (!isEqual(saved, seen)) {
    setSeen(saved); // changed from elsewhere, or by saving the draft
    setDraft(saved);
  }

  const save = (change: Partial<Query>) => {
    onChange({ ...query, ...change });
    onRunQuery();
  };
  const invalid = stepError(draft.minStep);
  const commit = () => {
    if (invalid === undefined && !isEqual(draft, saved)) {
      save({
        queryText: draft.queryText.trim() || undefined,
        minStep: stepOf(draft.minStep),
        legend: draft.legend.trim() || undefined,
      });
    }
  };
  const id = (name: string) => `continuum-${query.refId}-${name}`;

  return (
    <Stack direction="row" wrap="wrap" gap={0.5} alignItems="flex-start">
      <InlineField label="Metric" htmlFor={id('metricName')} tooltip="One that the service names, or any other.">
        <Choice
          id={id('metricName')}
          width={32}
          placeholder="temperature"
          options={(typed) => metrics(datasource, typed)}
          value={query.metricName || undefined}
          onChange={(value) => save({ metricName: value.trim() })}
        />
      </InlineField>
      <InlineField
        label="Aggregation"
        htmlFor={id('aggregation')}
        tooltip="What a row shows of the points since the row before, or a variable."
      >
        <Choice
          id={id('aggregation')}
          width={14}
          options={aggregations}
          custom
          value={query.aggregation ?? DEFAULT_METRIC_QUERY.aggregation}
          onChange={(value) => save({ aggregation: value.trim() })}
        />
      </InlineField>
      {TEXTS.map(({ name, label, width, tooltip, placeholder }) => (
        <InlineField
          key={name}
          label={label}
          tooltip={tooltip}
          htmlFor={id(name)}
          invalid={name === 'minStep' && invalid !== undefined}
          error={invalid}
        >
          <Input
            id={id(name)}
            width={width}
            placeholder={placeholder}
            value={draft[name]}
            onChange={({ currentTarget }) => setDraft({ ...draft, [name]: currentTarget.value })}
            onBlur={commit}
            onKeyDown={({ key }: KeyboardEvent) => key === 'Enter' && commit()}
          />
        </InlineField>
      ))}
      <StreamingSwitch id={id('withStreaming')} value={query.withStreaming ?? true} onChange={save} />
    </Stack>
  );
}

/** The metrics that the service names, as far as they have what was typed in their name. */
async function metrics(datasource: DataSource, typed: string) {
  // A service that names none, or does not answer, leaves the name to be typed: the query says what is wrong.
  const names = await datasource.getResource<string[]>('names').catch((): string[] => []);
  return found(typed.trim(), names);
}

const hasVariable = (text: string) => /\$\w|\$\{\w|\[\[\w/.test(text);

function stepOf(text: string): number | string | undefined {
  const step = text.trim();
  return step === '' ? undefined : hasVariable(step) ? step : Number(step);
}

function stepError(text: string): string | undefined {
  const step = stepOf(text) ?? DEFAULT_METRIC_QUERY.minStep;
  const valid = typeof step === 'string' || (Number.isInteger(step) && step >= 10 && step <= 24 * 60 * 60 * 1000);
  return valid ? undefined : 'Min step: enter a whole number from 10 to 86400000, or a variable';
}
