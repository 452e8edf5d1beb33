import { CoreApp } from '@grafana/data';
import { InlineField, InlineSwitch } from '@grafana/ui';
import React from 'react';
import type { BaseQuery } from '../types';

/** Whether the rows of the query are drawn. Alert rules do not draw: they need no stream and no legend. */
export const isDrawn = (app?: CoreApp | string) => app !== CoreApp.UnifiedAlerting && app !== CoreApp.CloudAlerting;

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
