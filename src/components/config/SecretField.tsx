import { Field, SecretInput, SecretTextArea } from '@grafana/ui';
import React, { ReactNode, useId, useState } from 'react';
import { useDraft } from '../useDraft';
import { useStill } from '../useStill';
import { Parsed } from './fields';
import { isConfigured, typedSecret, withoutSecret, withSecret } from './secrets';
import { PartProps } from './settings';

interface Props extends PartProps {
  /** The key in secureJsonData. */
  secret: string;
  label: string;
  description?: ReactNode;
  placeholder?: string;
  width?: number;
  /** More than one: a text of several lines. */
  rows?: number;
  /** Converts between the typed text and the saved secret, if they differ. */
  codec?: { encode: (text: string) => Parsed<string>; decode: (secret: string) => string };
}

/** A secret. Grafana never gives it back, so it can only be kept, or typed anew. */
export function SecretField(props: Props) {
  const { settings, onChange, secret, label, description, placeholder, width, rows = 1, codec } = props;
  const id = useId();
  const typed = typedSecret(settings, secret);
  const [left, setLeft] = useState(false);
  const encode = (text: string): Parsed<string> => (codec && text.trim() ? codec.encode(text) : { value: text.trim() });
  const save = (value: string) =>
    onChange(value ? withSecret(settings, secret, value) : withoutSecret(settings, secret));
  const { draft, setDraft, handlers } = useDraft(codec && typed ? codec.decode(typed) : typed, (text) => {
    const encoded = encode(text);
    if ('value' in encoded && encoded.value !== typed) {
      save(encoded.value);
    }
  });
  const encoded = encode(draft);
  const error = useStill(left && 'error' in encoded ? `${label}: ${encoded.error}` : undefined);
  const common = {
    id,
    placeholder,
    disabled: settings.readOnly,
    isConfigured: isConfigured(settings, secret),
    value: draft,
    onReset: () => {
      setDraft('');
      onChange(withoutSecret(settings, secret));
    },
    onBlur: () => {
      setLeft(true);
      handlers.onBlur();
    },
    onChange: ({ currentTarget: { value } }: React.FormEvent<HTMLInputElement | HTMLTextAreaElement>) => {
      setDraft(value);
      if (!codec) {
        save(value);
      }
    },
  };
  return (
    <Field label={label} description={description} htmlFor={id} invalid={error !== undefined} error={error}>
      {/* Grafana 12.0 knows no grow; so many columns fill the width there, too. */}
      {rows > 1 ? <SecretTextArea {...common} rows={rows} cols={200} /> : <SecretInput {...common} width={width} />}
    </Field>
  );
}
