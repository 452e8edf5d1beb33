import { config } from '@grafana/runtime';
import { Alert, Button, Checkbox, Field, FieldSet, Grid, IconButton, Label, Stack } from '@grafana/ui';
import React, { useState } from 'react';
import { Options } from '../../types';
import { DurationField, HEADER_NAME, TextField } from './fields';
import { headersOf, nameHeader, removeHeader, valueKey } from './headers';
import { SecretField } from './SecretField';
import { isConfigured, typedSecret, withoutSecret } from './secrets';
import { PartProps, withOptions } from './settings';
import { MINUTE, SECOND } from './units';

/** The HTTP settings of a server, under the names that Grafana's plugin SDK reads. */
export function HTTPSection({ settings, onChange }: PartProps) {
  const { timeout, enableSecureSocksProxy = false } = settings.jsonData;
  const part = { settings, onChange };
  return (
    <>
      <FieldSet label="Authentication">
        <BasicAuth {...part} />
        <TLS {...part} />
      </FieldSet>
      <FieldSet label="HTTP">
        <Headers {...part} />
        <DurationField
          label="Timeout"
          description="How long one request may take, in whole seconds."
          value={typeof timeout === 'number' ? timeout * SECOND : timeout}
          least={SECOND}
          most={10 * MINUTE}
          fallback={30 * SECOND}
          disabled={settings.readOnly}
          onChange={(ms) =>
            onChange(withOptions(settings, { timeout: typeof ms === 'number' ? Math.round(ms / SECOND) : ms }))
          }
        />
        {(config.secureSocksDSProxyEnabled || enableSecureSocksProxy) && (
          <Field>
            <Checkbox
              label="Secure SOCKS proxy"
              description="Requests go through the proxy that this Grafana is set up with."
              value={enableSecureSocksProxy}
              disabled={settings.readOnly}
              onChange={({ currentTarget: { checked } }) =>
                onChange(withOptions(settings, { enableSecureSocksProxy: checked }))
              }
            />
          </Field>
        )}
      </FieldSet>
    </>
  );
}

function BasicAuth({ settings, onChange }: PartProps) {
  return (
    <>
      <Field>
        <Checkbox
          label="Basic authentication"
          description="A user and a password are sent with each request."
          value={settings.basicAuth}
          disabled={settings.readOnly}
          onChange={({ currentTarget }) => onChange({ ...settings, basicAuth: currentTarget.checked })}
        />
      </Field>
      {settings.basicAuth && (
        <Grid columns={{ xs: 1, md: 2 }} columnGap={4}>
          <TextField
            label="User"
            value={settings.basicAuthUser || undefined}
            disabled={settings.readOnly}
            onChange={(basicAuthUser = '') => onChange({ ...settings, basicAuthUser })}
          />
          <SecretField settings={settings} onChange={onChange} secret="basicAuthPassword" label="Password" />
        </Grid>
      )}
    </>
  );
}

function TLS({ settings, onChange }: PartProps) {
  const { tlsAuthWithCACert = false, tlsAuth = false, tlsSkipVerify = false, serverName } = settings.jsonData;
  const disabled = settings.readOnly;
  const certificate = { settings, onChange, rows: 4, placeholder: '-----BEGIN CERTIFICATE-----' };
  // Once one of the boxes is ticked, the SDK uses all certificates that are saved. So unticking a box deletes its
  // certificates.
  const save = (change: Partial<Options>, ...forgotten: string[]) =>
    onChange(forgotten.reduce(withoutSecret, withOptions(settings, change)));

  return (
    <>
      <Field>
        <Checkbox
          label="CA certificate"
          description="For a server whose certificate this machine does not accept by itself."
          value={tlsAuthWithCACert}
          disabled={disabled}
          onChange={({ currentTarget: { checked } }) =>
            save({ tlsAuthWithCACert: checked }, ...(checked ? [] : ['tlsCACert']))
          }
        />
      </Field>
      {tlsAuthWithCACert && <SecretField {...certificate} secret="tlsCACert" label="Certificate of the CA" />}
      <Field>
        <Checkbox
          label="Client certificate"
          description="For a server that asks for one."
          value={tlsAuth}
          disabled={disabled}
          onChange={({ currentTarget: { checked } }) =>
            save({ tlsAuth: checked }, ...(checked ? [] : ['tlsClientCert', 'tlsClientKey']))
          }
        />
      </Field>
      {tlsAuth && (
        <>
          <SecretField {...certificate} secret="tlsClientCert" label="Certificate of the client" />
          <SecretField
            {...certificate}
            secret="tlsClientKey"
            label="Key of the client"
            placeholder="-----BEGIN PRIVATE KEY-----"
          />
        </>
      )}
      {(tlsAuthWithCACert || tlsAuth) && (
        <TextField
          label="Server name"
          description="The name in the server's certificate, if it is not the one in the address."
          width={40}
          value={serverName}
          disabled={disabled}
          onChange={(value) => save({ serverName: value })}
        />
      )}
      <Field>
        <Checkbox
          label="Skip verification"
          description="Takes any certificate of the server. For tests only: others can then read along."
          value={tlsSkipVerify}
          disabled={disabled}
          onChange={({ currentTarget }) => save({ tlsSkipVerify: currentTarget.checked })}
        />
      </Field>
    </>
  );
}

function Headers({ settings, onChange }: PartProps) {
  const names = headersOf(settings);
  // A header is saved once it has a name: one without a name would make every request fail.
  const [adding, setAdding] = useState(false);
  const [lost, setLost] = useState<string[]>([]);
  const isSet = (n: number) => isConfigured(settings, valueKey(n)) || typedSecret(settings, valueKey(n)) !== '';
  const missing = names.filter((name, i) => lost.includes(name) && !isSet(i + 1));

  return (
    <>
      <Label description="Sent with each request: X-Scope-OrgID for a tenant, Authorization for “Bearer” and a token.">
        Headers
      </Label>
      {[...names, ...(adding ? [''] : [])].map((name, i) => (
        <Stack key={i} direction="row" gap={1} alignItems="flex-end">
          <TextField
            label="Header"
            placeholder="X-Scope-OrgID"
            width={30}
            required
            value={name || undefined}
            disabled={settings.readOnly}
            check={(text) => (HEADER_NAME.test(text) ? undefined : 'enter a name such as X-Scope-OrgID')}
            onChange={(value) => {
              if (value !== undefined) {
                setAdding(adding && i < names.length);
                onChange(nameHeader(settings, i + 1, value));
              }
            }}
          />
          <SecretField settings={settings} onChange={onChange} secret={valueKey(i + 1)} label="Value" width={40} />
          <Field>
            <IconButton
              name="trash-alt"
              tooltip={`Remove header ${name}`}
              disabled={settings.readOnly}
              onClick={() => {
                if (i === names.length) {
                  setAdding(false);
                  onChange(withoutSecret(settings, valueKey(i + 1)));
                  return;
                }
                const removed = removeHeader(settings, i + 1);
                setLost([...missing, ...removed.lost]);
                onChange(removed.settings);
              }}
            />
          </Field>
        </Stack>
      ))}
      {missing.length > 0 && (
        <Alert severity="warning" title={`Enter the values again: ${missing.join(', ')}`}>
          Headers are numbered, and what Grafana keeps encrypted cannot move to another number. To keep it, reload this
          page without saving.
        </Alert>
      )}
      <Field>
        <Button variant="secondary" icon="plus" disabled={settings.readOnly || adding} onClick={() => setAdding(true)}>
          Add header
        </Button>
      </Field>
    </>
  );
}
