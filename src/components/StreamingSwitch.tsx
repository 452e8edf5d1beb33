import { CoreApp } from '@grafana/data';
import { InlineField, InlineSwitch } from '@grafana/ui';
import React from 'react';
import type { BaseQuery } from '../types';

/** Where annotations are edited. Grafana asks for annotations under this name, and gives it to no editor of a panel. */
export const ANNOTATION = CoreApp.Dashboard;

const UNDRAWN: Array<string | undefined> = [CoreApp.UnifiedAlerting, CoreApp.CloudAlerting, ANNOTATION];

/** Whether the rows of the query are drawn. Alert rules and annotations need no stream and no legend. */
export const isDrawn = (app?: CoreApp | string) => !UNDRAWN.includes(app);

interface StreamingSwitchProps {
  id: string;
  value: boolean;
  onChange: (change: Pick<BaseQuery, 'withStreaming'>) => void;
}

export function StreamingSwitch({ id, value, onChange }: StreamingSwitchProps) {
  return (
    <InlineField
      label="With Streaming"
      htmlFor={id}
      tooltip="New rows are added as they come, without a refresh, while the time range ends at now."
    >
      <InlineSwitch
        id={id}
        value={value}
        onChange={({ currentTarget }) => onChange({ withStreaming: currentTarget.checked })}
      />
    </InlineField>
  );
}
