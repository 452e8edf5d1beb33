import { FieldSet, Grid } from '@grafana/ui';
import React from 'react';
import { DeleteSamples } from './DeleteSamples';
import { DurationField, SizeField } from '../../components/config/fields';
import { InputsSection } from './inputs/InputsSection';
import { RecorderStatus } from './RecorderStatus';
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
      <StorageSection settings={settings} onChange={onChange} saved={saved} />
    </>
  );
}

function StorageSection({ settings, onChange, saved }: SettingsProps) {
  const {
    retention,
    maxBytes,
    outOfOrder,
    interval,
    lookback,
    maxWait,
    idleStop,
    hostInterval,
    maxAhead,
    diskLow,
    diskCritical,
  } = settings.jsonData.recorder ?? {};
  const disabled = settings.readOnly;
  const save = (change: RecorderOptions) => onChange(withRecorder(settings, change));
  const kept = retention ?? RETENTION;

  return (
    <FieldSet label="Storage">
      <Grid columns={{ xs: 1, md: 2 }} columnGap={4}>
        <DurationField
          label="Retention"
          description="Samples older than this are deleted."
          value={retention}
          least={HOUR}
          most={3650 * DAY}
          fallback={RETENTION}
          disabled={disabled}
          onChange={(value) => save({ retention: value })}
        />
        <SizeField
          label="Maximum size"
          description="Of the store on disk. Beyond it the oldest samples are deleted."
          value={maxBytes}
          least={64 * MIB}
          most={PIB}
          fallback={10 * GIB}
          disabled={disabled}
          onChange={(value) => save({ maxBytes: value })}
        />
        <DurationField
          label="Sample interval"
          description="The usual time between two samples of a series. Rows are never closer."
          value={interval}
          least={10}
          most={HOUR}
          fallback={hostInterval ?? SECOND}
          disabled={disabled}
          onChange={(value) => save({ interval: value })}
        />
        <DurationField
          label="Lookback"
          description="How long a series keeps its last value. Raise it for sensors that speak rarely."
          value={lookback}
          least={interval ?? hostInterval ?? SECOND}
          most={30 * DAY}
          fallback={5 * MINUTE}
          disabled={disabled}
          onChange={(value) => save({ lookback: value })}
        />
        <DurationField
          label="Out-of-order window"
          description="How late a sample may come and still be stored. 0s: none out of order."
          value={outOfOrder}
          least={0}
          most={kept}
          fallback={Math.min(kept, 7 * DAY)}
          disabled={disabled}
          onChange={(value) => save({ outOfOrder: value })}
        />
        <DurationField
          label="Wait for late inputs"
          description="How long rows wait for an input that is behind. Later samples still correct them."
          value={maxWait}
          least={1}
          most={HOUR}
          fallback={2 * SECOND}
          disabled={disabled}
          onChange={(value) => save({ maxWait: value })}
        />
        <DurationField
          label="Samples may be ahead"
          description="Of this machine's clock. Those further ahead are refused."
          value={maxAhead}
          least={1}
          most={Math.max(outOfOrder ?? Math.min(kept, 7 * DAY), HOUR)}
          fallback={10 * MINUTE}
          disabled={disabled}
          onChange={(value) => save({ maxAhead: value })}
        />
        <SizeField
          label="Store nothing below"
          description="Free space on the disk. Below it brokers keep their messages, and what is pushed is refused."
          value={diskLow}
          least={32 * MIB}
          most={PIB}
          fallback={GIB}
          disabled={disabled}
          onChange={(value) => save({ diskLow: value })}
        />
        <SizeField
          label="Close the store below"
          description="Free space on the disk. Below it queries fail as well, until there is room again."
          value={diskCritical}
          least={16 * MIB}
          most={(diskLow ?? GIB) / 2}
          fallback={Math.max((diskLow ?? GIB) / 4, 16 * MIB)}
          disabled={disabled}
          onChange={(value) => save({ diskCritical: value })}
        />
        <DurationField
          label="Stop when not used"
          description="Recording stops when no panel, alert rule or editor has asked for this long."
          value={idleStop}
          least={kept}
          most={3650 * DAY}
          fallback={Math.max(kept, 30 * DAY)}
          disabled={disabled}
          onChange={(value) => save({ idleStop: value })}
        />
      </Grid>
      {saved && !disabled && <DeleteSamples uid={settings.uid} />}
    </FieldSet>
  );
}
