import { CollapsableSection, FieldSet, Grid, Stack, Text } from '@grafana/ui';
import React from 'react';
import { Code } from '../../components/Code';
import { DurationField, HEADER_NAME, TextField } from '../../components/config/fields';
import { addressError, withScheme } from '../../components/config/address';
import { HTTPSection } from '../../components/config/HTTPSection';
import { SecretField } from '../../components/config/SecretField';
import { PartProps, withOptions } from '../../components/config/settings';
import type { MetricsAPIOptions } from './options';
import { DAY } from '../../components/config/units';

export function MetricsAPISection({ settings, onChange }: PartProps) {
  const { endpoint, keyHeader, delay } = settings.jsonData.metricsApi ?? {};
  const disabled = settings.readOnly;
  const save = (change: MetricsAPIOptions['metricsApi']) =>
    onChange(withOptions(settings, { metricsApi: { ...settings.jsonData.metricsApi, ...change } }));

  return (
    <>
      <FieldSet label="Connection">
        <TextField
          label="Endpoint"
          description="The address that health, query, latest and names are added to."
          placeholder="https://metrics.example.com/api"
          required
          value={endpoint}
          disabled={disabled}
          complete={(text) => withScheme(text, 'http')}
          check={(text) => addressError([text], ['http', 'https'], 'https://metrics.example.com/api')}
          onChange={(value) => save({ endpoint: value })}
        />
        <Grid columns={{ xs: 1, md: 2 }} columnGap={4}>
          <SecretField
            settings={settings}
            onChange={onChange}
            secret="apiKey"
            label="API key"
            description="Sent with each request."
          />
          <TextField
            label="Header of the key"
            description="In Authorization it is sent as a bearer token, in any other header as it is."
            placeholder="Authorization"
            value={keyHeader}
            disabled={disabled}
            check={(text) => (HEADER_NAME.test(text) ? undefined : 'enter the name of a header, such as X-API-Key')}
            onChange={(value) => save({ keyHeader: value })}
          />
        </Grid>
        <DurationField
          label="Delay"
          description="How long before its newest point the service may still correct others."
          placeholder="0s"
          value={delay}
          least={0}
          most={DAY}
          disabled={disabled}
          onChange={(value) => save({ delay: value })}
        />
        <Contract />
      </FieldSet>
      <HTTPSection settings={settings} onChange={onChange} />
    </>
  );
}

const REQUESTS: Array<{ request: string; answer?: string; note?: string }> = [
  { request: 'GET /health', note: 'Any answer with status 200.' },
  {
    request: 'GET /query?metric=temperature&from=1767225600000&to=1767225660000',
    answer:
      '{"timestamps": ["2026-01-01T00:00:00Z", …], "values": [21.5, …], "labels": {"room": "hall"}, "unit": "celsius"}',
  },
  { request: 'GET /latest?metric=temperature', answer: '{"timestamp": "2026-01-01T00:00:59Z", "value": 21.7}' },
  { request: 'GET /names', answer: '["temperature", …]', note: 'For completion; it may be absent.' },
];

/** The requests and answers of the service, so that the user need not look them up elsewhere. */
function Contract() {
  return (
    <CollapsableSection label="What the service answers" isOpen={false}>
      <Stack direction="column" gap={2}>
        <Text color="secondary">
          Times are Unix milliseconds in requests, and these or RFC 3339 in answers. Names of fields may be in any case.
        </Text>
        {REQUESTS.map(({ request, answer, note }) => (
          <div key={request}>
            <Code>{request}</Code>
            {answer && (
              <div>
                <Code>{answer}</Code>
              </div>
            )}
            {note && (
              <Text color="secondary" element="p">
                {note}
              </Text>
            )}
          </div>
        ))}
      </Stack>
    </CollapsableSection>
  );
}
