import { Box, CollapsableSection } from '@grafana/ui';
import React from 'react';
import { DocsLink } from '../DocsLink';
import { BoundedFields, type BoundedSetting } from './fields';
import { PartProps, withOptions } from './settings';
import { DAY } from './units';

const MOST = 1_000_000;

const FIELDS: Array<BoundedSetting<'minStep' | 'maxStreams' | 'maxStreamsPerUser' | 'maxRows'>> = [
  {
    name: 'minStep',
    kind: 'duration',
    label: 'Minimum step',
    description: 'The shortest time between two rows of any query.',
    least: 10,
    most: DAY,
    fallback: 10,
  },
  {
    name: 'maxStreams',
    kind: 'number',
    label: 'Streams per data source',
    description: 'How many may be open at once. Panels beyond that are shown without a stream.',
    least: 1,
    most: MOST,
    fallback: 1000,
  },
  {
    name: 'maxStreamsPerUser',
    kind: 'number',
    label: 'Streams per user',
    description: 'How many of them one user may hold.',
    least: 1,
    most: MOST,
    fallback: 200,
  },
  {
    name: 'maxRows',
    kind: 'number',
    label: 'Rows per query',
    description: 'Queries for more are refused.',
    least: 1,
    most: MOST,
    fallback: 50_000,
  },
];

/** The limits that every source has. */
export function LimitsSection({ settings, onChange }: PartProps) {
  return (
    <CollapsableSection label="Limits" isOpen={false}>
      <Box marginBottom={2}>
        <DocsLink page="settings.md">What they are for</DocsLink>
      </Box>
      <BoundedFields
        fields={FIELDS}
        values={settings.jsonData}
        disabled={settings.readOnly}
        onChange={(change) => onChange(withOptions(settings, change))}
      />
    </CollapsableSection>
  );
}
