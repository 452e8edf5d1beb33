import { css } from '@emotion/css';
import { Field, Grid, Input, RadioButtonGroup, TextArea } from '@grafana/ui';
import React, { ReactNode, useId, useState } from 'react';
import { useDraft } from '../useDraft';
import { useStill } from '../useStill';
import { formatDuration, formatSize, parseDuration, parseSize } from './units';

/** The value of a text, or what to enter instead. */
export type Parsed<T> = { value: T } | { error: string };

interface FieldProps<T> {
  label: string;
  description?: ReactNode;
  value?: T;
  placeholder?: string;
  /** In units of 8 px; the whole width if absent. */
  width?: number;
  /** More than one: a text of several lines. */
  rows?: number;
  required?: boolean;
  disabled?: boolean;
  /** Called without a value if the text is empty. */
  onChange: (value?: T) => void;
}

interface CheckedFieldProps<T> extends FieldProps<T> {
  parse: (text: string) => Parsed<T>;
  format: (value: T) => string;
}

/**
 * A value that is typed as text. It is checked and saved when the user leaves the field or presses Enter, because until
 * then the text may be incomplete. Both happen before Grafana saves the page. Invalid text is saved as it is.
 */
export function CheckedField<T>({
  label,
  description,
  value,
  placeholder,
  width,
  rows = 1,
  required,
  disabled,
  onChange,
  parse,
  format,
}: CheckedFieldProps<T>) {
  const id = useId();
  const meaning = (typed: string): Parsed<T | undefined> =>
    typed.trim() === '' ? { value: undefined } : parse(typed.trim());
  const textOf = (saved?: T) => (saved === undefined ? '' : typeof saved === 'string' ? saved : format(saved));
  const [left, setLeft] = useState(false);
  const { draft, setDraft, handlers } = useDraft(textOf(value), (text) => {
    const typed = meaning(text);
    // Invalid text is saved too. Otherwise saving the page would keep an older value without a word; now the back end
    // refuses the text and names the field.
    onChange('value' in typed ? typed.value : (withoutPassword(text.trim()) as T));
  });
  const parsed = meaning(draft);
  const missing = required && draft.trim() === '' ? `${label}: enter a value` : undefined;
  const error = 'error' in parsed ? `${label}: ${parsed.error}` : missing;
  // The saved value may have become invalid, because another field was changed or the settings were changed elsewhere.
  const stale = value !== undefined && draft === textOf(value);
  const shown = useStill(left || stale ? error : undefined);
  const props = {
    id,
    placeholder,
    disabled,
    value: draft,
    onChange: ({ currentTarget }: React.FormEvent<HTMLInputElement | HTMLTextAreaElement>) =>
      setDraft(currentTarget.value),
    onBlur: () => {
      setLeft(true);
      handlers.onBlur();
    },
    onKeyDown: (event: React.KeyboardEvent) => {
      setLeft(left || event.key === 'Enter');
      handlers.onKeyDown(event);
    },
  };
  return (
    <Field
      label={label}
      description={description}
      htmlFor={id}
      required={required}
      invalid={shown !== undefined}
      error={shown}
    >
      {rows > 1 ? <TextArea {...props} rows={rows} /> : <Input {...props} width={width} />}
    </Field>
  );
}

interface TextFieldProps extends FieldProps<string> {
  check?: (text: string) => string | undefined;
  /** Completes a text, such as an address without a scheme. */
  complete?: (text: string) => string;
}

/**
 * Removes user and password from an address, because others can read the settings. The rest of such an address is
 * refused, too.
 */
const withoutPassword = (text: string) => text.replace(/:\/\/[^/?#@]*@/g, '://…@');

export function TextField({ check, complete = (text) => text, ...props }: TextFieldProps) {
  const parse = (text: string): Parsed<string> => {
    const value = complete(text);
    const error = check?.(value);
    return error === undefined ? { value } : { error };
  };
  return <CheckedField {...props} parse={parse} format={(text) => text} />;
}

interface Bounds {
  least: number;
  most: number;
  /** What the back end takes when nothing is entered. */
  fallback?: number;
}

type BoundedProps = FieldProps<number> & Bounds;

/** A duration, saved in milliseconds. */
export const DurationField = (props: BoundedProps) => (
  <BoundedField {...props} what="a duration such as 90s, 12h or 15d," parse={parseDuration} format={formatDuration} />
);

/** A size, saved in bytes. */
export const SizeField = (props: BoundedProps) => (
  <BoundedField {...props} what="a size such as 500 MiB or 10 GiB," parse={parseSize} format={formatSize} />
);

/** A whole number. */
export const NumberField = (props: BoundedProps) => (
  <BoundedField
    {...props}
    what="a whole number"
    parse={(text) => (/^\d+$/.test(text) ? Number(text) : undefined)}
    format={String}
  />
);

const KINDS = { duration: DurationField, size: SizeField, number: NumberField };

/** A value with bounds, and the name that it is saved under. */
export interface BoundedSetting<K extends string> extends Bounds {
  name: K;
  kind: keyof typeof KINDS;
  label: string;
  description: ReactNode;
  placeholder?: string;
  width?: number;
}

interface BoundedFieldsProps<K extends string> {
  fields: Array<BoundedSetting<K>>;
  values?: Partial<Record<K, number>>;
  disabled?: boolean;
  onChange: (change: Partial<Record<K, number>>) => void;
}

/** Several durations, sizes and numbers, side by side where there is room. */
export function BoundedFields<K extends string>({ fields, values, disabled, onChange }: BoundedFieldsProps<K>) {
  return (
    <Grid columns={{ xs: 1, md: 2 }} columnGap={4}>
      {fields.map(({ name, kind, ...field }) => {
        const Field = KINDS[kind];
        return (
          <Field
            key={name}
            {...field}
            value={values?.[name]}
            disabled={disabled}
            onChange={(value) => onChange({ [name]: value } as Partial<Record<K, number>>)}
          />
        );
      })}
    </Grid>
  );
}

interface BoundedFieldProps extends BoundedProps {
  what: string;
  parse: (text: string) => number | undefined;
  format: (value: number) => string;
}

function BoundedField({ what, parse, least, most, fallback, ...props }: BoundedFieldProps) {
  const { format } = props;
  const nothing = fallback === undefined ? '' : `, or nothing for ${format(fallback)}`;
  const check = (text: string): Parsed<number> => {
    const value = parse(text);
    return value !== undefined && value >= least && value <= most
      ? { value }
      : { error: `enter ${what} from ${format(least)} to ${format(most)}${nothing}` };
  };
  return (
    <CheckedField
      width={20}
      placeholder={fallback === undefined ? undefined : format(fallback)}
      {...props}
      parse={check}
    />
  );
}

/** Several texts, one a line. */
export function LinesField(props: FieldProps<string[]> & { check?: (line: string) => string | undefined }) {
  const parse = (text: string): Parsed<string[]> => {
    const lines = text.split('\n').flatMap((line) => line.trim() || []);
    const error = lines.flatMap((line) => props.check?.(line) ?? [])[0];
    return error === undefined ? { value: lines } : { error };
  };
  return <CheckedField rows={3} {...props} parse={parse} format={(lines) => lines.join('\n')} />;
}

interface ChoiceFieldProps<T> {
  label: string;
  /** The description of the chosen option is shown below the label. */
  options: Array<{ value: T; label: string; description?: string }>;
  value: T;
  description?: string;
  disabled?: boolean;
  onChange: (value: T) => void;
}

/**
 * One of a few values. It does not use Combobox: that of Grafana 12.4 reports a choice from within an effect. Grafana's
 * settings page renders at once, so Combobox would report the same choice again, without end.
 */
export function ChoiceField<T>({ label, options, value, description, disabled, onChange }: ChoiceFieldProps<T>) {
  const chosen = options.find((option) => option.value === value);
  return (
    <Field label={label} description={description ?? chosen?.description}>
      <RadioButtonGroup
        aria-label={label}
        className={wrapped}
        options={options.map((option) => ({ value: option.value, label: option.label }))}
        value={value}
        disabled={disabled}
        onChange={onChange}
      />
    </Field>
  );
}

/** Options that do not fit on a line go on in the next one. */
const wrapped = css({ flexWrap: 'wrap' });

/** What the name of an HTTP header may be. */
export const HEADER_NAME = /^[!#$%&'*+.^_`|~\w-]+$/;

interface Pairs {
  /** Between name and value; spaces around it do not count. */
  separator: string;
  /** The pattern of a valid name. */
  name: RegExp;
  /** An example of a line. */
  example: string;
}

/** Reads names with values, one a line. */
export function parsePairs(text: string, { separator, name, example }: Pairs): Parsed<Record<string, string>> {
  const pairs = new Map<string, string>();
  for (const line of text.split('\n').filter((l) => l.trim())) {
    const at = line.indexOf(separator.trim());
    const key = line.slice(0, Math.max(at, 0)).trim();
    if (!name.test(key)) {
      return { error: `enter one ${example} a line` };
    }
    if (pairs.has(key)) {
      return { error: `enter ${key} only once` };
    }
    pairs.set(key, line.slice(at + 1).trim());
  }
  return { value: Object.fromEntries(pairs) };
}

/** The text that parsePairs turns back into these pairs. */
export const formatPairs = (pairs: Record<string, string>, { separator }: Pairs): string =>
  Object.entries(pairs)
    .map((pair) => pair.join(separator))
    .join('\n');

/** Names with numbers, one a line. */
export function NumbersField({ pairs, ...props }: FieldProps<Record<string, number>> & { pairs: Pairs }) {
  const parse = (text: string): Parsed<Record<string, number>> => {
    const parsed = parsePairs(text, pairs);
    if ('error' in parsed) {
      return parsed;
    }
    const texts = Object.entries(parsed.value);
    const wrong = texts.find(([, value]) => value === '' || !Number.isFinite(Number(value)));
    return wrong
      ? { error: `enter a number for ${wrong[0]}` }
      : { value: Object.fromEntries(texts.map(([name, value]) => [name, Number(value)])) };
  };
  const format = (value: Record<string, number>) =>
    Object.entries(value)
      .map((pair) => pair.join(pairs.separator))
      .join('\n');
  return <CheckedField rows={3} {...props} parse={parse} format={format} />;
}

/** Names with values, one a line. */
export function PairsField({ pairs, ...props }: FieldProps<Record<string, string>> & { pairs: Pairs }) {
  return (
    <CheckedField
      rows={3}
      {...props}
      parse={(text) => parsePairs(text, pairs)}
      format={(value) => formatPairs(value, pairs)}
    />
  );
}
