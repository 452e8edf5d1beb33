import { config } from '@grafana/runtime';
import { Alert, Checkbox, ClipboardButton, Field, Grid, Input } from '@grafana/ui';
import React, { useId } from 'react';
import { PushFormat, PushInput } from '../options';
import { LinesField, NumberField, SizeField } from '../../../components/config/fields';
import { InputFieldsProps } from './inputs';
import { MIB } from '../../../components/config/units';

const FORMATS: Array<{ format: PushFormat; label: string; description: string }> = [
  {
    format: 'influx',
    label: 'Influx line protocol',
    description: 'For Telegraf\'s http output with data_format = "influx".',
  },
  { format: 'prometheus', label: 'Prometheus remote write', description: 'Versions 1.0 and 2.0.' },
];

export function PushFields({ settings, input, onInputChange }: InputFieldsProps<PushInput>) {
  const disabled = settings.readOnly;
  const formats = input.formats ?? [];
  const common = { disabled, least: 1 };
  return (
    <>
      {FORMATS.map(({ format, label, description }) => (
        <React.Fragment key={format}>
          <Field>
            <Checkbox
              label={label}
              description={description}
              value={formats.includes(format)}
              disabled={disabled}
              onChange={({ currentTarget: { checked } }) =>
                onInputChange({
                  formats: FORMATS.flatMap(({ format: f }) =>
                    (f === format ? checked : formats.includes(f)) ? f : [],
                  ),
                })
              }
            />
          </Field>
          {formats.includes(format) && (
            <AddressField label={`URL for ${label}`} url={addressOf(settings.uid, format)} />
          )}
        </React.Fragment>
      ))}
      {formats.includes('influx') && (
        <LinesField
          label="States"
          description="Fields of line protocol whose texts are recorded as states, one a line: mode, or pump_mode for mode of the measurement pump; * for all."
          placeholder="mode"
          value={input.states}
          disabled={disabled}
          onChange={(states) => onInputChange({ states })}
        />
      )}
      <Alert severity="info" title="Who pushes needs a token">
        Make a service account with the role Editor in Grafana, and send its token with each request as the header{' '}
        <code>Authorization: Bearer &lt;token&gt;</code>.
      </Alert>
      <Grid columns={{ xs: 1, md: 2 }} columnGap={4}>
        <SizeField
          label="Maximum size of a request"
          description="Holds for what it unpacks to as well."
          value={input.maxBytes}
          {...common}
          least={1024}
          most={64 * MIB}
          fallback={8 * MIB}
          onChange={(maxBytes) => onInputChange({ maxBytes })}
        />
        <NumberField
          label="Maximum series"
          description="Samples of further series are refused."
          value={input.maxSeries}
          {...common}
          most={1_000_000}
          fallback={100_000}
          onChange={(maxSeries) => onInputChange({ maxSeries })}
        />
        <NumberField
          label="Maximum samples per second"
          description="Who sends more is told to try again later."
          value={input.samplesPerSecond}
          {...common}
          most={10_000_000}
          fallback={100_000}
          onChange={(samplesPerSecond) => onInputChange({ samplesPerSecond })}
        />
      </Grid>
    </>
  );
}

const addressOf = (uid: string, format: PushFormat) =>
  `${window.location.origin}${config.appSubUrl}/api/datasources/uid/${uid}/resources/push/${format}`;

function AddressField({ label, url }: { label: string; url: string }) {
  const id = useId();
  return (
    <Field label={label} htmlFor={id}>
      <Input
        id={id}
        readOnly
        value={url}
        addonAfter={
          <ClipboardButton variant="secondary" icon="copy" getText={() => url}>
            Copy
          </ClipboardButton>
        }
      />
    </Field>
  );
}
