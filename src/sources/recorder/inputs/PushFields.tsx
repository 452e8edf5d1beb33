import { config } from '@grafana/runtime';
import { Alert, Checkbox, ClipboardButton, Field, Input } from '@grafana/ui';
import React, { useId } from 'react';
import { PushFormat, PushInput } from '../options';
import { BoundedFields, type BoundedSetting, LinesField } from '../../../components/config/fields';
import { Code } from '../../../components/Code';
import { DocsLink } from '../../../components/DocsLink';
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

const LIMITS: Array<BoundedSetting<'maxBytes' | 'maxSeries' | 'samplesPerSecond'>> = [
  {
    name: 'maxBytes',
    kind: 'size',
    label: 'Maximum size of a request',
    description: 'Holds for what it unpacks to as well.',
    least: 1024,
    most: 64 * MIB,
    fallback: 8 * MIB,
  },
  {
    name: 'maxSeries',
    kind: 'number',
    label: 'Maximum series',
    description: 'Samples of further series are refused.',
    least: 1,
    most: 1_000_000,
    fallback: 100_000,
  },
  {
    name: 'samplesPerSecond',
    kind: 'number',
    label: 'Maximum samples per second',
    description: 'Who sends more is told to try again later.',
    least: 1,
    most: 10_000_000,
    fallback: 100_000,
  },
];

export function PushFields({ settings, input, onInputChange }: InputFieldsProps<PushInput>) {
  const disabled = settings.readOnly;
  const formats = input.formats ?? [];
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
        <code>Authorization: Bearer &lt;token&gt;</code>. <DocsLink page="inputs.md#push">More on pushing</DocsLink>
        {formats.includes('influx') && (
          <div>
            To try it:{' '}
            <Code>
              {`curl -H "Authorization: Bearer $TOKEN" --data-binary "room,place=hall temperature=21.5" ${addressOf(settings.uid, 'influx')}`}
            </Code>
          </div>
        )}
      </Alert>
      <BoundedFields fields={LIMITS} values={input} disabled={disabled} onChange={onInputChange} />
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
