import { Checkbox, CollapsableSection, Field } from '@grafana/ui';
import React from 'react';
import { TextField } from '../../../components/config/fields';
import { secretKey } from './inputs';
import { SecretField } from '../../../components/config/SecretField';
import { PartProps } from '../../../components/config/settings';

interface TLS {
  serverName?: string;
  skipVerify?: boolean;
}

interface Props extends PartProps {
  input: TLS & { name: string };
  onInputChange: (change: TLS) => void;
  /** Whether the server name can be set. */
  named?: boolean;
}

/** Certificates of an input. */
export function TLSFields({ settings, onChange, input, onInputChange, named = true }: Props) {
  const certificate = { settings, onChange, rows: 4, placeholder: '-----BEGIN CERTIFICATE-----' };
  return (
    <CollapsableSection label="TLS" isOpen={false}>
      <SecretField
        {...certificate}
        secret={secretKey(input.name, 'caCert')}
        label="CA certificate"
        description="Of whoever signed the server's, if this machine does not know it."
      />
      <SecretField
        {...certificate}
        secret={secretKey(input.name, 'clientCert')}
        label="Client certificate"
        description="For servers that ask for one."
      />
      <SecretField
        {...certificate}
        secret={secretKey(input.name, 'clientKey')}
        label="Client key"
        placeholder="-----BEGIN PRIVATE KEY-----"
      />
      {named && (
        <TextField
          label="Server name"
          description="The name in the server's certificate, if it is not the one in the address."
          width={40}
          value={input.serverName}
          disabled={settings.readOnly}
          onChange={(serverName) => onInputChange({ serverName })}
        />
      )}
      <Field>
        <Checkbox
          label="Skip verification"
          description="Takes any certificate of the server. For tests only: others can then read along."
          value={input.skipVerify ?? false}
          disabled={settings.readOnly}
          onChange={({ currentTarget }) => onInputChange({ skipVerify: currentTarget.checked || undefined })}
        />
      </Field>
    </CollapsableSection>
  );
}
