import { Combobox, ComboboxOption, MultiCombobox } from '@grafana/ui';
import React, { useCallback, useEffect, useId, useLayoutEffect, useRef } from 'react';
import { cutAt, variableNames } from '../promql/names';

/** Finds the options of a list. Called when the list is opened and as the user types. */
type Find = (search: string) => Promise<ComboboxOption[]>;

interface ChoiceProps {
  /** The id that a visible label refers to. */
  id?: string;
  /** The name for screen readers, if there is no visible label. */
  label?: string;
  placeholder?: string;
  /** In units of 8 px. With two widths, the field is as wide as its value, within these limits. */
  width: number | [min: number, max: number];
  /**
   * An array must be the same object in each render. With a function, values that it does not return can be entered
   * too.
   */
  options: ComboboxOption[] | Find;
  /** Whether values that are not in the array can be entered too. */
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
  // Combobox reports a choice during its own update. If the change comes back at once, as in Explore, it reports the
  // same choice again and again, and to an outdated callback. So compare with the latest value, and call the latest
  // callback.
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

/** A choice of several values. Values that are not in the list can be entered too. */
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
 * Wraps `find` in a function that stays the same: a list that gets another function forgets what is being typed, and
 * panels render with every new row.
 *
 * The typed text is added as the last option. If Combobox itself offered it, it would come first, and Enter would take
 * it although the user only searches.
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

/** The names and the dashboard's variables that contain the search text. */
export const found = (search: string, names: readonly string[]): ComboboxOption[] =>
  withVariables(search, optionsOf(names.filter((name) => has(name, search))));

/** The options, and the dashboard's variables that contain the search text. */
export function withVariables(search: string, options: ComboboxOption[]): ComboboxOption[] {
  const variables = variableNames().filter((name) => has(name, search));
  return [...options, ...variables.map((value) => ({ ...optionOf(value), description: 'Variable' }))];
}

const has = (text: string, search: string) => text.toLowerCase().includes(search.toLowerCase());

/** The options of a list. A list that may have been cut says so, and how to find the others. */
export const limited = (options: ComboboxOption[], limit: number): ComboboxOption[] =>
  options.length < limit ? options : options.map((option) => ({ ...option, group: cutAt(limit) }));
