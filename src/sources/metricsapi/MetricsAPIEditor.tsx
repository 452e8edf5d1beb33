import { InlineField, Input, Stack } from '@grafana/ui';
import React from 'react';
import { useDraft } from '../../components/useDraft';
import type { DataSource } from '../../datasource';
import { hasVariable } from '../interpolate';
import { AGGREGATIONS, DEFAULTS, type MetricsAPIQuery } from './query';
import { labelsOf, LegendField } from '../../components/LegendField';
import { isDrawn, StreamingSwitch } from '../../components/StreamingSwitch';
import { Choice, found, optionsOf } from '../../components/Choice';
import type { EditorProps } from '../source';

const TEXTS: Array<{
  name: 'queryText' | 'minStep';
  label: string;
  width: number;
  tooltip: string;
  placeholder?: string;
}> = [
  {
    name: 'queryText',
    label: 'Query',
    width: 36,
    tooltip: 'Passed on to the service as it is, which may narrow the metric down by it.',
  },
  {
    name: 'minStep',
    label: 'Min step (ms)',
    width: 14,
    tooltip: 'The shortest time between two rows, and how often at most the service is asked for its newest point.',
    placeholder: `${DEFAULTS.minStep}`,
  },
];

/** The fields that are typed, as typed. */
type Texts = Record<'queryText' | 'minStep' | 'legend', string>;

const toTexts = ({ queryText = '', minStep = '', legend = '' }: MetricsAPIQuery): Texts => ({
  queryText,
  minStep: `${minStep}`,
  legend,
});

const aggregations = optionsOf(AGGREGATIONS);

/** Metric and aggregation are saved and run as they are chosen, the other fields on blur and on Enter. */
export function MetricsAPIEditor({ datasource, query, onChange, onRunQuery, app, data }: EditorProps<MetricsAPIQuery>) {
  const saved = toTexts(query);
  const save = (change: Partial<MetricsAPIQuery>) => {
    onChange({ ...query, ...change });
    onRunQuery();
  };
  const { draft, setDraft, handlers } = useDraft(saved, ({ queryText, minStep, legend }) => {
    if (stepError(minStep) === undefined) {
      save({
        queryText: queryText.trim() || undefined,
        minStep: stepOf(minStep),
        legend: legend.trim() || undefined,
      });
    }
  });
  const invalid = stepError(draft.minStep);
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
          value={query.aggregation ?? DEFAULTS.aggregation}
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
            {...handlers}
          />
        </InlineField>
      ))}
      {isDrawn(app) && (
        <>
          <LegendField
            id={id('legend')}
            value={draft.legend}
            labels={labelsOf(data, query.refId)}
            onChange={(legend) => setDraft({ ...draft, legend })}
            handlers={handlers}
          />
          <StreamingSwitch id={id('withStreaming')} value={query.withStreaming ?? true} onChange={save} />
        </>
      )}
    </Stack>
  );
}

interface Listed {
  name: string;
  description?: string;
}

/** The metrics that the service lists and whose name contains the typed text. */
async function metrics(datasource: DataSource, typed: string) {
  // If the service lists no names or does not answer, the name can still be typed. If something is wrong, the query
  // says so.
  const listed = await datasource.getResource<Listed[]>('names').catch((): Listed[] => []);
  const descriptions = new Map(listed.map(({ name, description }) => [name, description]));
  return found(typed.trim(), [...descriptions.keys()]).map((option) => ({
    ...option,
    description: option.description ?? descriptions.get(option.value),
  }));
}

function stepOf(text: string): number | string | undefined {
  const step = text.trim();
  return step === '' ? undefined : hasVariable(step) ? step : Number(step);
}

function stepError(text: string): string | undefined {
  const step = stepOf(text) ?? DEFAULTS.minStep;
  const valid = typeof step === 'string' || (Number.isInteger(step) && step >= 10 && step <= 24 * 60 * 60 * 1000);
  return valid ? undefined : 'Min step: enter a whole number from 10 to 86400000, or a variable';
}
