import { Box, FieldSet, Text } from '@grafana/ui';
import { isNumber, pickBy } from 'lodash';
import React from 'react';
import { DeleteSamples } from './DeleteSamples';
import { BoundedFields, type BoundedSetting } from '../../components/config/fields';
import { DocsLink } from '../../components/DocsLink';
import { InputsSection } from './inputs/InputsSection';
import { RecorderStatus } from './RecorderStatus';
import { RecordingRules } from './RecordingRules';
import type { SettingsProps } from '../source';
import { type RecorderOptions, withRecorder } from './options';
import { useStatus } from './status';
import { DAY, GIB, HOUR, MIB, MINUTE, PIB, SECOND } from '../../components/config/units';

const RETENTION = 15 * DAY;

export function RecorderSection({ settings, onChange, saved }: SettingsProps) {
  const polled = useStatus(saved ? settings.uid : undefined);
  return (
    <>
      {saved && <RecorderStatus {...polled} />}
      <InputsSection settings={settings} onChange={onChange} states={polled.status?.inputs ?? []} />
      <RecordingRules
        settings={settings}
        onChange={onChange}
        retention={numbersOf(settings.jsonData.recorder).retention || RETENTION}
        states={polled.status?.rules ?? []}
      />
      <StorageSection settings={settings} onChange={onChange} saved={saved} />
    </>
  );
}

type StorageField =
  | 'retention'
  | 'maxBytes'
  | 'interval'
  | 'lookback'
  | 'outOfOrder'
  | 'maxWait'
  | 'maxAhead'
  | 'diskLow'
  | 'diskCritical'
  | 'idleStop';

/** The settings that are numbers. A field that holds anything else was saved as it was typed, and bounds no other one. */
const numbersOf = (options: RecorderOptions = {}) =>
  pickBy(options, isNumber) as Partial<Record<StorageField | 'hostInterval', number>>;

/** The settings of the store. Some have bounds and defaults that depend on others. */
function storageFields(options?: RecorderOptions): Array<BoundedSetting<StorageField>> {
  const numbers = numbersOf(options);
  const retention = numbers.retention || RETENTION; // 0 stands for the default, too
  const diskLow = numbers.diskLow || GIB;
  const interval = numbers.hostInterval || SECOND;
  const window = Math.min(retention, 7 * DAY);
  return [
    {
      name: 'retention',
      kind: 'duration',
      label: 'Retention',
      description: 'Samples older than this are deleted.',
      least: HOUR,
      most: 3650 * DAY,
      fallback: RETENTION,
    },
    {
      name: 'maxBytes',
      kind: 'size',
      label: 'Maximum size',
      description: 'Of the store on disk. Beyond it the oldest samples are deleted.',
      least: 64 * MIB,
      most: PIB,
      fallback: 10 * GIB,
    },
    {
      name: 'interval',
      kind: 'duration',
      label: 'Sample interval',
      description: 'The usual time between two samples of a series. Rows are never closer.',
      least: 10,
      most: HOUR,
      fallback: interval,
    },
    {
      name: 'lookback',
      kind: 'duration',
      label: 'Lookback',
      description: 'How long a series keeps its last value. Raise it for sensors that speak rarely.',
      least: numbers.interval || interval,
      most: 30 * DAY,
      fallback: 5 * MINUTE,
    },
    {
      name: 'outOfOrder',
      kind: 'duration',
      label: 'Out-of-order window',
      description:
        'How late a sample may come and still be stored. 0s: none out of order. Below 2h, samples may be refused for up to two hours after a clock that was ahead is set back.',
      least: 0,
      most: retention,
      fallback: window,
    },
    {
      name: 'maxWait',
      kind: 'duration',
      label: 'Wait for late inputs',
      description: 'How long rows wait for an input that is behind. Later samples still correct them.',
      least: 1,
      most: HOUR,
      fallback: 2 * SECOND,
    },
    {
      name: 'maxAhead',
      kind: 'duration',
      label: 'Samples may be ahead',
      description: "Of this machine's clock. Those further ahead are refused.",
      least: 1,
      most: Math.max(numbers.outOfOrder ?? window, HOUR),
      fallback: 10 * MINUTE,
    },
    {
      name: 'diskLow',
      kind: 'size',
      label: 'Store nothing below',
      description: 'Free space on the disk. Below it brokers keep their messages, and what is pushed is refused.',
      least: 32 * MIB,
      most: PIB,
      fallback: GIB,
    },
    {
      name: 'diskCritical',
      kind: 'size',
      label: 'Close the store below',
      description: 'Free space on the disk. Below it queries fail as well, until there is room again.',
      least: 16 * MIB,
      most: diskLow / 2,
      fallback: Math.max(diskLow / 4, 16 * MIB),
    },
    {
      name: 'idleStop',
      kind: 'duration',
      label: 'Stop when not used',
      description: 'Recording stops when no panel, alert rule or editor has asked for this long.',
      least: retention,
      most: 3650 * DAY,
      fallback: Math.max(retention, 30 * DAY),
    },
  ];
}

function StorageSection({ settings, onChange, saved }: SettingsProps) {
  return (
    <FieldSet label="Storage">
      <Box marginBottom={2}>
        <Text element="p" color="secondary">
          Every default suits a machine with some sensors.{' '}
          <DocsLink page="recorder.md#settings">What each one does</DocsLink> and{' '}
          <DocsLink page="limits.md">how much fits</DocsLink>.
        </Text>
      </Box>
      <BoundedFields
        fields={storageFields(settings.jsonData.recorder)}
        values={settings.jsonData.recorder}
        disabled={settings.readOnly}
        onChange={(change) => onChange(withRecorder(settings, change))}
      />
      {saved && !settings.readOnly && <DeleteSamples uid={settings.uid} />}
    </FieldSet>
  );
}
