import { DataSourcePluginOptionsEditorProps } from '@grafana/data';
import { Combobox, Field, FieldSet, Input } from '@grafana/ui';
import React, { useState } from 'react';
import { Options } from '../types';

const SOURCES = [
  {
    value: 'recorder' as const,
    label: 'Recorder (this machine)',
    description: "Records the metrics of Grafana's own machine, and is asked in PromQL",
  },
  { value: 'signal' as const, label: 'Signal', description: 'A test signal, the same in every process at every time' },
];

interface Limit {
  name: 'minStep' | 'maxStreams' | 'maxStreamsPerUser' | 'maxRows';
  label: string;
  description: string;
  least: number;
  fallback: number;
}

const LIMITS: Limit[] = [
  {
    name: 'minStep',
    label: 'Minimum step (ms)',
    description: 'The shortest time between two rows of any query.',
    least: 10,
    fallback: 10,
  },
  {
    name: 'maxStreams',
    label: 'Streams per data source',
    description: 'How many streams may be open at once. Panels beyond it are shown without a stream.',
    least: 1,
    fallback: 1000,
  },
  {
    name: 'maxStreamsPerUser',
    label: 'Streams per user',
    description: 'How many of them one user may hold.',
    least: 1,
    fallback: 200,
  },
  {
    name: 'maxRows',
    label: 'Rows per query',
    description: 'Queries for more rows are refused.',
    least: 1,
    fallback: 50_000,
  },
];

export function ConfigEditor({ options, onOptionsChange }: DataSourcePluginOptionsEditorProps<Options>) {
  const save = (change: Partial<Options>) =>
    onOptionsChange({ ...options, jsonData: { ...options.jsonData, ...change } });

  return (
    <>
      <FieldSet label="Source">
        <Field label="Source" description="Where the rows come from." htmlFor="continuum-source">
          <Combobox
            id="continuum-source"
            width={40}
            options={SOURCES}
            value={options.jsonData.source ?? 'recorder'}
            disabled={options.readOnly}
            onChange={({ value }) => save({ source: value })}
          />
        </Field>
      </FieldSet>
      <FieldSet label="Limits">
        {LIMITS.map((limit) => (
          <LimitField
            key={limit.name}
            limit={limit}
            value={options.jsonData[limit.name]}
            disabled={options.readOnly}
            onChange={(value) => save({ [limit.name]: value })}
          />
        ))}
      </FieldSet>
    </>
  );
}

interface LimitFieldProps {
  limit: Limit;
  value?: number;
  disabled?: boolean;
  onChange: (value?: number) => void;
}

/** A whole number, or nothing for the default. What is invalid is shown and not saved. */
function LimitField({ limit, value, disabled, onChange }: LimitFieldProps) {
  const { name, label, description, least, fallback } = limit;
  const [text, setText] = useState(`${value ?? ''}`);
  const isValid = (typed: string) => /^\s*\d*\s*$/.test(typed) && (typed.trim() === '' || Number(typed) >= least);
  const id = `continuum-${name}`;

  return (
    <Field
      label={label}
      description={description}
      htmlFor={id}
      invalid={!isValid(text)}
      error={`${label}: enter a whole number from ${least}, or nothing for ${fallback}`}
    >
      <Input
        id={id}
        width={20}
        inputMode="numeric"
        placeholder={`${fallback}`}
        value={text}
        disabled={disabled}
        onChange={({ currentTarget }) => {
          const typed = currentTarget.value;
          setText(typed);
          if (isValid(typed)) {
            onChange(typed.trim() === '' ? undefined : Number(typed));
          }
        }}
      />
    </Field>
  );
}
