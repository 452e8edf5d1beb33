import type { PanelData } from '@grafana/data';
import { InlineField, Input } from '@grafana/ui';
import { uniq } from 'lodash';
import React, { type KeyboardEvent, useId } from 'react';

interface LegendFieldProps {
  id: string;
  value: string;
  /** The default, or an example. */
  placeholder?: string;
  /** Offered after {{. */
  labels: string[];
  onChange: (value: string) => void;
  handlers: { onBlur: () => void; onKeyDown: (event: KeyboardEvent) => void };
}

export function LegendField({ id, value, placeholder = '{{label}}', labels, onChange, handlers }: LegendFieldProps) {
  const listId = useId();
  const begun = value === '' ? '{{' : BEGUN.exec(value)?.[1];
  return (
    <>
      <InlineField
        label="Legend"
        htmlFor={id}
        tooltip="The name of the series. {{label}} is replaced by the value of the label. By default the labels in which series differ."
      >
        <Input
          id={id}
          width={28}
          placeholder={placeholder}
          list={listId}
          autoComplete="off"
          value={value}
          onChange={({ currentTarget }) => onChange(currentTarget.value)}
          {...handlers}
        />
      </InlineField>
      <datalist id={listId}>
        {begun !== undefined && labels.map((label) => <option key={label} value={`${begun}${label}}}`} />)}
      </datalist>
    </>
  );
}

/** A text that ends with the beginning of a label. */
const BEGUN = /^(.*\{\{)[^{}]*$/;

/** The labels of the series that answer a query. */
export const labelsOf = (data: PanelData | undefined, refId: string): string[] =>
  uniq(
    (data?.series ?? [])
      .filter((frame) => frame.refId === refId)
      .flatMap(({ fields }) => fields.flatMap(({ labels }) => Object.keys(labels ?? {}))),
  ).sort();
