import { CollapsableSection, Grid } from '@grafana/ui';
import React from 'react';
import { DurationField, NumberField } from './fields';
import { PartProps, withOptions } from './settings';
import { DAY } from './units';

const MOST = 1_000_000;

/** The limits that every source has. */
export function LimitsSection({ settings, onChange }: PartProps) {
  const { minStep, maxStreams, maxStreamsPerUser, maxRows } = settings.jsonData;
  const common = { disabled: settings.readOnly, least: 1, most: MOST };

  return (
    <CollapsableSection label="Limits" isOpen={false}>
      <Grid columns={{ xs: 1, md: 2 }} columnGap={4}>
        <DurationField
          {...common}
          label="Minimum step"
          description="The shortest time between two rows of any query."
          value={minStep}
          least={10}
          most={DAY}
          fallback={10}
          onChange={(value) => onChange(withOptions(settings, { minStep: value }))}
        />
        <NumberField
          {...common}
          label="Streams per data source"
          description="How many may be open at once. Panels beyond that are shown without a stream."
          value={maxStreams}
          fallback={1000}
          onChange={(value) => onChange(withOptions(settings, { maxStreams: value }))}
        />
        <NumberField
          {...common}
          label="Streams per user"
          description="How many of them one user may hold."
          value={maxStreamsPerUser}
          fallback={200}
          onChange={(value) => onChange(withOptions(settings, { maxStreamsPerUser: value }))}
        />
        <NumberField
          {...common}
          label="Rows per query"
          description="Queries for more are refused."
          value={maxRows}
          fallback={50_000}
          onChange={(value) => onChange(withOptions(settings, { maxRows: value }))}
        />
      </Grid>
    </CollapsableSection>
  );
}
