import { Combobox, ComboboxOption, MultiCombobox } from '@grafana/ui';
import React, { useCallback, useEffect, useId, useLayoutEffect, useRef } from 'react';
import { variableNames } from '../promql/names';

/** Finds what there is to choose from when a list is opened, and as one types. */
type Find = (search: string) => Promise<ComboboxOption[]>;

interface ChoiceProps {
  /** Of a label on screen. */
  id?: string;
  /** A name where there is none. */
  label?: string;
  placeholder?: string;
  /** In units of 8 px. Between two widths the value decides. */
  width: number | [min: number, max: number];
  /** A list is to be a constant. Where options are looked for, others can be entered too. */
  options: ComboboxOption[] | Find;
  /** Whether others than those of a list can be entered too. */
  custom?: boolean;
  value?: string;
  onChange: (value: string) => void;
  onClear?: () => void;
}

export function Choice({ id, label, placeholder, width, options, custom, value, onChange, onClear }: ChoiceProps) {
  const labelId = useId();
  const find = useStable(options instanceof Function ? options : () => Promise.resolve(options));
  const size =
    typeof width === 'number' ? { width } : { width: 'auto' as const, minWidth: width[0], maxWidth: width[1] };
  const props = {
    ...size,
    id,
    'aria-labelledby': label && labelId,
    placeholder,
    options: options instanceof Function ? find : options,
    createCustomValue: custom,
    value: value ?? null,
  };
  // Lists say what was chosen while they are still at it. Where the change comes back at once, as in Explore, they would
  // say it again and again, and to what was there before.
  const latest = useRef({ value, onChange, onClear });
  useLayoutEffect(() => {
    latest.current = { value, onChange, onClear };
  });
  const choose = (option: ComboboxOption | null) => {
    const { value: shown, onChange: change, onClear: clear } = latest.current;
    if (option && option.value !== shown) {
      change(option.value);
    } else if (!option && shown !== undefined) {
      clear?.();
    }
  };
  return (
    <>
      {label && (
        <span id={labelId} hidden>
          {label}
        </span>
      )}
      {onClear ? <Combobox {...props} isClearable onChange={choose} /> : <Combobox {...props} onChange={choose} />}
    </>
  );
}

interface SeveralProps {
  /** A name for screen readers. */
  label: string;
  placeholder: string;
  width: [min: number, max: number];
  options: Find;
  values: string[];
  onChange: (values: string[]) => void;
}

/** For several values, others than those of the list among them. */
export function Several({ label, placeholder, width: [minWidth, maxWidth], options, values, onChange }: SeveralProps) {
  const labelId = useId();
  return (
    <>
      <span id={labelId} hidden>
        {label}
      </span>
      <MultiCombobox
        aria-labelledby={labelId}
        placeholder={placeholder}
        width="auto"
        minWidth={minWidth}
        maxWidth={maxWidth}
        options={useStable(options)}
        value={values}
        onChange={(chosen) => onChange(chosen.map(({ value }) => value))}
      />
    </>
  );
}

/**
 * A function that stays the same: given another one, a list would forget what is being typed, as often as rows come.
 * What is typed can be taken as it is, and comes last: it comes first where the list itself offers it, and so would be
 * what Enter takes when one only searches.
 */
function useStable(find: Find): Find {
  const latest = useRef(find);
  useEffect(() => {
    latest.current = find;
  });
  return useCallback(async (search) => {
    const options = await latest.current(search);
    const typed = { ...optionOf(search.trim()), description: 'As typed' };
    return typed.value && !options.some(({ value }) => value === typed.value) ? [...options, typed] : options;
  }, []);
}

export const optionOf = (value: string): ComboboxOption => ({ value, label: value });
export const optionsOf = (values: readonly string[]) => values.map(optionOf);

/** Those of the names, and of the dashboard's variables, that have the search in them. */
export function found(search: string, names: readonly string[]): ComboboxOption[] {
  const has = ({ value }: ComboboxOption) => value.toLowerCase().includes(search.toLowerCase());
  const variables = variableNames().map((value) => ({ ...optionOf(value), description: 'Variable' }));
  return [...optionsOf(names), ...variables].filter(has);
}
