import type { QueryEditorProps } from '@grafana/data';
import { Alert, Combobox, InlineField, InlineSwitch, Input, Stack } from '@grafana/ui';
import React from 'react';
import { formatDuration, parseDuration } from '../components/config/units';
import { SourceEditor } from '../components/QueryEditor';
import { ANNOTATION } from '../components/StreamingSwitch';
import { useDraft } from '../components/useDraft';
import type { DataSource } from '../datasource';
import { hasStates } from '../sources';
import { hasVariable } from '../sources/interpolate';
import type { Format, Options, Query } from '../types';
import type { EventOptions } from './events';

type Texts = Record<'title' | 'text' | 'tags' | 'step', string>;

const FIELDS: Array<{ name: keyof Texts; label: string; width: number; placeholder?: string; tooltip: string }> = [
  {
    name: 'title',
    label: 'Title',
    width: 30,
    placeholder: 'The name of the series',
    tooltip: '{{label}} is replaced by the value of the label.',
  },
  {
    name: 'text',
    label: 'Text',
    width: 40,
    tooltip: '{{label}} is replaced by the value of the label.',
  },
  {
    name: 'tags',
    label: 'Tags',
    width: 30,
    placeholder: '{{label}}, maintenance',
    tooltip: 'Separated by commas. {{label}} is replaced by the value of the label.',
  },
  {
    name: 'step',
    label: 'Step',
    width: 14,
    tooltip:
      'The time between two rows, such as 1m. By default it depends on the width of the window and on the time range. ' +
      'What lies between two rows is not seen, unless the query takes it in, as max_over_time(alarm[$__interval]) does.',
  },
];

const FORMATS: Array<{ value: Format | ''; label: string }> = [
  { value: '', label: 'Rows above 0' },
  { value: 'states', label: 'Changes of state' },
];

/** The editor of an annotation's query, and of what becomes of its rows. */
export function AnnotationEditor(props: QueryEditorProps<DataSource, Query, Options>) {
  const { datasource, query, data, onChange, onRunQuery } = props;
  const event = query.event ?? {};
  const isStates = query.format === 'states' && hasStates(datasource.source);
  const { title = '', text: eventText = '', tags = '', step: savedStep = '' } = event;
  const save = (change: Partial<Query>) => {
    onChange({ ...query, ...change });
    onRunQuery();
  };
  const saveEvent = (change: EventOptions) => save({ event: { ...event, ...change } });
  const { draft, setDraft, handlers } = useDraft<Texts>({ title, text: eventText, tags, step: savedStep }, (typed) => {
    if (stepError(typed.step) === undefined) {
      saveEvent(Object.fromEntries(FIELDS.map(({ name }) => [name, typed[name].trim() || undefined])));
    }
  });
  const invalid = stepError(draft.step);
  const step = data?.series[0]?.fields[0]?.config.interval;
  const notices = data?.series.flatMap(({ meta }) => meta?.notices ?? []) ?? [];
  const id = (name: string) => `continuum-${query.refId}-event-${name}`;

  return (
    <Stack direction="column" gap={0.5}>
      {hasStates(datasource.source) && (
        <InlineField
          label="Events from"
          htmlFor={id('format')}
          tooltip="Rows above 0 that follow one another are a region, one alone is an event. Of states, each change of text is an event."
        >
          <Combobox
            id={id('format')}
            width={22}
            options={FORMATS}
            value={isStates ? 'states' : ''}
            onChange={({ value }) => save({ format: value || undefined })}
          />
        </InlineField>
      )}
      <SourceEditor {...props} data={undefined} app={ANNOTATION} />
      <Stack direction="row" wrap="wrap" gap={0.5} alignItems="flex-start">
        {FIELDS.filter(({ name }) => name !== 'text' || !isStates).map(
          ({ name, label, width, placeholder, tooltip }) => (
            <InlineField
              key={name}
              label={label}
              htmlFor={id(name)}
              tooltip={tooltip}
              invalid={name === 'step' && invalid !== undefined}
              error={invalid}
            >
              <Input
                id={id(name)}
                width={width}
                placeholder={name === 'step' && step ? formatDuration(step) : placeholder}
                value={draft[name]}
                onChange={({ currentTarget }) => setDraft({ ...draft, [name]: currentTarget.value })}
                {...handlers}
              />
            </InlineField>
          ),
        )}
        {isStates && (
          <InlineField
            label="Regions"
            htmlFor={id('regions')}
            tooltip="A region for as long as each state holds, instead of an event at each change."
          >
            <InlineSwitch
              id={id('regions')}
              value={event.regions ?? false}
              onChange={({ currentTarget }) => saveEvent({ regions: currentTarget.checked || undefined })}
            />
          </InlineField>
        )}
      </Stack>
      {notices.map(({ text, severity }) => (
        <Alert key={text} title={text} severity={severity === 'error' || severity === 'warning' ? severity : 'info'} />
      ))}
    </Stack>
  );
}

const stepError = (text: string) =>
  text.trim() === '' || hasVariable(text) || parseDuration(text)
    ? undefined
    : 'Step: enter a duration such as 10s, 1m or 1h, or a variable';
