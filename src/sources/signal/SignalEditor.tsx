import { InlineField, Input, Stack } from '@grafana/ui';
import { isEqual } from 'lodash';
import React from 'react';
import { Draft, invalidFields, toDraft, toFields } from './draft';
import { Choice } from '../../components/Choice';
import { labelsOf, LegendField } from '../../components/LegendField';
import { isDrawn, StreamingSwitch } from '../../components/StreamingSwitch';
import { useDraft } from '../../components/useDraft';
import { DEFAULT_QUERY, SHAPES, type SignalQuery } from './query';
import type { EditorProps } from '../source';

const shapes = SHAPES.map((value) => ({ value, label: value.charAt(0).toUpperCase() + value.slice(1) }));

const FIELDS: Array<{
  name: Exclude<keyof Draft, 'shape' | 'legend'>;
  label: string;
  width: number;
  tooltip: string;
}> = [
  { name: 'lowerLimit', label: 'Lower limit', width: 14, tooltip: 'The signal never falls below it.' },
  { name: 'upperLimit', label: 'Upper limit', width: 14, tooltip: 'The signal never rises above it.' },
  {
    name: 'tickInterval',
    label: 'Tick interval (ms)',
    width: 14,
    tooltip: 'The signal has one value per tick. From 10 ms to 86400000 ms (one day).',
  },
];

type Props = EditorProps<SignalQuery>;

/**
 * The fields are checked as the user types. They are saved and run together on blur and on Enter, once all of them are
 * valid, so that both limits can be changed one after the other.
 */
export function SignalEditor(props: Props) {
  const { onChange, onRunQuery } = props;
  const query = { ...DEFAULT_QUERY, ...props.query };
  const saved = toDraft(query);
  const save = (change: Partial<SignalQuery>) => {
    onChange({ ...query, ...change });
    onRunQuery();
  };
  const commit = (typed: Draft) => {
    const fields = toFields(typed);
    if (Object.keys(invalidFields(typed)).length === 0 && !isEqual(toDraft(fields), saved)) {
      save(fields);
    }
  };
  const { draft, setDraft, handlers } = useDraft(saved, commit);
  const invalid = invalidFields(draft);
  const id = (name: string) => `continuum-${query.refId}-${name}`;

  return (
    <Stack direction="row" wrap="wrap" gap={0.5} alignItems="flex-start">
      <InlineField
        label="Shape"
        htmlFor={id('shape')}
        tooltip="The form of the signal, or a variable."
        invalid={'shape' in invalid}
        error={invalid.shape}
      >
        <Choice
          id={id('shape')}
          width={18}
          options={shapes}
          custom
          value={draft.shape}
          onChange={(value) => {
            // A shape that was typed comes as its label.
            const typed = { ...draft, shape: shapes.find(({ label }) => label === value)?.value ?? value };
            setDraft(typed);
            commit(typed);
          }}
        />
      </InlineField>
      {FIELDS.map(({ name, label, width, tooltip }) => (
        <InlineField
          key={name}
          label={label}
          tooltip={tooltip}
          htmlFor={id(name)}
          invalid={name in invalid}
          error={invalid[name]}
        >
          <Input
            id={id(name)}
            width={width}
            value={draft[name]}
            onChange={({ currentTarget }) => setDraft({ ...draft, [name]: currentTarget.value })}
            {...handlers}
          />
        </InlineField>
      ))}
      {isDrawn(props.app) && (
        <>
          <LegendField
            id={id('legend')}
            value={draft.legend}
            placeholder="{{shape}}"
            labels={labelsOf(props.data, query.refId)}
            onChange={(legend) => setDraft({ ...draft, legend })}
            handlers={handlers}
          />
          <StreamingSwitch id={id('withStreaming')} value={query.withStreaming} onChange={save} />
        </>
      )}
    </Stack>
  );
}
