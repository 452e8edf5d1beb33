import { css } from '@emotion/css';
import { GrafanaTheme2 } from '@grafana/data';
import {
  Button,
  Combobox,
  ComboboxOption,
  IconButton,
  InlineLabel,
  Input,
  MultiCombobox,
  useStyles2,
} from '@grafana/ui';
import { isEqual } from 'lodash';
import React, { ReactNode, useId, useState } from 'react';
import { Metric, Names, variableNames } from '../../names';
import { selector } from '../../promql';
import { FUNCTIONS, Param } from './functions';
import {
  CALCULATIONS,
  EMPTY,
  Filter,
  isNumber,
  isRange,
  MATCH_OPERATORS,
  Operation,
  toExpr,
  toVisual,
  Visual,
} from './visual';

interface BuilderProps {
  /** One that the builder can show. */
  expr: string;
  names: Names;
  onChange: (expr: string) => void;
}

/**
 * Shows what the expression says, and beside that only what is not complete yet: a filter without a value, or functions
 * of a metric that is still to be chosen.
 */
export function Builder({ expr, names, onChange }: BuilderProps) {
  const [visual, setVisual] = useState(() => toVisual(expr) ?? EMPTY);
  const [seen, setSeen] = useState(expr);
  if (expr !== seen) {
    setSeen(expr);
    if (expr !== toExpr(visual)) {
      setVisual(toVisual(expr) ?? EMPTY); // changed from elsewhere
    }
  }
  const [chosen, setChosen] = useState<Metric>();

  const change = (part: Partial<Visual>) => {
    const next = { ...visual, ...part };
    setVisual(next);
    const rendered = toExpr(next);
    if (rendered !== toExpr(visual)) {
      onChange(rendered);
    }
  };
  const { metric, filters, operations } = visual;
  const isCounter = chosen?.name === metric && chosen.type === 'counter' && operations[0]?.kind !== 'range';
  const styles = useStyles2(getStyles);

  return (
    <div className={styles.rows}>
      <Row label="Metric">
        <MetricField
          value={metric}
          names={names}
          onChange={(next) => {
            setChosen(next);
            change({ metric: next.name });
          }}
        />
        {isCounter && (
          <Button
            variant="secondary"
            fill="outline"
            icon="plus"
            tooltip="A counter only ever grows. rate() shows how fast."
            onClick={() => change({ operations: withOperation(operations, 'rate') })}
          >
            rate
          </Button>
        )}
      </Row>
      <Row label="Label filters">
        {filters.map((filter, i) => (
          <FilterField
            key={i}
            filter={filter}
            match={selector(metric, complete(filters.filter((_, j) => j !== i)))}
            names={names}
            onChange={(next) => change({ filters: filters.with(i, next) })}
            onRemove={() => change({ filters: filters.toSpliced(i, 1) })}
          />
        ))}
        <Button
          variant="secondary"
          icon="plus"
          aria-label="Add label filter"
          onClick={() => change({ filters: [...filters, { op: '=' }] })}
        />
      </Row>
      <Row label="Operations">
        {operations.map((operation, i) => (
          <OperationField
            key={i}
            operation={operation}
            match={selector(metric, complete(filters))}
            names={names}
            onChange={(next) => change({ operations: operations.with(i, next) })}
            onRemove={() => change({ operations: operations.toSpliced(i, 1) })}
          />
        ))}
        <AddOperation onAdd={(name) => change({ operations: withOperation(operations, name) })} />
      </Row>
    </div>
  );
}

const complete = (filters: Filter[]) =>
  filters.flatMap(({ label, op, value }) => (label !== undefined && value !== undefined ? { label, op, value } : []));

/** The operations with one more. A function over a time takes the place of the one there is: there can be no second. */
export function withOperation(operations: Operation[], name: string): Operation[] {
  const added = newOperation(name);
  if (added.kind !== 'range') {
    return [...operations, added];
  }
  return [added, ...operations.filter(({ kind }) => kind !== 'range')];
}

function newOperation(name: string): Operation {
  const { takes, params = [], range = '' } = FUNCTIONS[name] ?? {};
  const numbers = params.map(({ initial }) => initial);
  switch (takes) {
    case 'range':
      return { kind: 'range', name, range, params: numbers };
    case 'aggregation':
      return { kind: 'aggregation', name, params: numbers, labels: [] };
    case 'instant':
      return { kind: 'instant', name, params: numbers };
    default:
      return { kind: 'calculation', name, number: name === '*' || name === '/' ? '100' : '0' };
  }
}

function Row({ label, children }: { label: string; children: ReactNode }) {
  const styles = useStyles2(getStyles);
  return (
    <div className={styles.row} role="group" aria-label={label}>
      <InlineLabel width={14}>{label}</InlineLabel>
      <div className={styles.fields}>{children}</div>
    </div>
  );
}

/** A name for what has no label on screen. */
function Labelled({ label, children }: { label: string; children: (id: string) => ReactNode }) {
  const id = useId();
  return (
    <>
      <span id={id} hidden>
        {label}
      </span>
      {children(id)}
    </>
  );
}

const optionsOf = (values: string[]): ComboboxOption[] => values.map((value) => ({ value, label: value }));
const ofDashboard = (search: string): ComboboxOption[] =>
  variableNames()
    .filter((name) => name.includes(search))
    .map((value) => ({ value, label: value, description: 'Variable' }));

/** What a metric is, in a line. */
const describe = ({ type, unit, help }: Metric) =>
  [[type, unit].filter(Boolean).join(', '), help].filter(Boolean).join(' · ');

function MetricField({ value, names, onChange }: { value: string; names: Names; onChange: (metric: Metric) => void }) {
  const [known, setKnown] = useState<Metric[]>([]);
  const options = async (search: string): Promise<ComboboxOption[]> => {
    const metrics = await names.metrics(search);
    setKnown(metrics);
    const found = metrics.map((metric) => ({
      value: metric.name,
      label: metric.name,
      description: describe(metric) || undefined,
    }));
    return [...found, ...ofDashboard(search)];
  };
  return (
    <Labelled label="Metric">
      {(id) => (
        <Combobox
          aria-labelledby={id}
          placeholder="Choose a metric"
          width="auto"
          minWidth={40}
          maxWidth={80}
          createCustomValue
          isClearable
          options={options}
          value={value || null}
          onChange={(option) => {
            const name = option?.value ?? '';
            onChange(known.find((metric) => metric.name === name) ?? { name, type: '', unit: '', help: '' });
          }}
        />
      )}
    </Labelled>
  );
}

const EMPTY_VALUE = '(empty)';

interface FilterFieldProps {
  filter: Filter;
  /** Selects the series without this filter. */
  match: string;
  names: Names;
  onChange: (filter: Filter) => void;
  onRemove: () => void;
}

function FilterField({ filter, match, names, onChange, onRemove }: FilterFieldProps) {
  const styles = useStyles2(getStyles);
  const { label, op, value } = filter;
  const has = (search: string) => (text: string) => text.toLowerCase().includes(search.toLowerCase());
  const labels = async (search: string) => [
    ...optionsOf((await names.labels(match)).filter(has(search))),
    ...ofDashboard(search),
  ];
  const values = async (search: string): Promise<ComboboxOption[]> => {
    const known = label === undefined ? [] : await names.values(label, match);
    const empty = { value: EMPTY_VALUE, label: EMPTY_VALUE, description: 'Series without this label' };
    return [...optionsOf(known.filter(has(search))), ...ofDashboard(search), ...(search ? [] : [empty])];
  };
  const shown = value === '' ? EMPTY_VALUE : value;
  return (
    <div className={styles.chip}>
      <Labelled label="Label">
        {(id) => (
          <Combobox
            aria-labelledby={id}
            placeholder="Label"
            width="auto"
            minWidth={12}
            maxWidth={30}
            createCustomValue
            options={labels}
            value={label ?? null}
            onChange={(option) => onChange({ ...filter, label: option.value })}
          />
        )}
      </Labelled>
      <Labelled label="Operator">
        {(id) => (
          <Combobox
            aria-labelledby={id}
            width={9}
            options={optionsOf([...MATCH_OPERATORS])}
            value={op}
            onChange={(option) => onChange({ ...filter, op: option.value })}
          />
        )}
      </Labelled>
      <Labelled label="Value">
        {(id) => (
          <Combobox
            aria-labelledby={id}
            placeholder="Value"
            width="auto"
            minWidth={14}
            maxWidth={50}
            createCustomValue
            options={values}
            value={shown ?? null}
            onChange={(option) => onChange({ ...filter, value: option.value === EMPTY_VALUE ? '' : option.value })}
          />
        )}
      </Labelled>
      <IconButton name="times" tooltip="Remove label filter" onClick={onRemove} />
    </div>
  );
}

interface OperationFieldProps {
  operation: Operation;
  match: string;
  names: Names;
  onChange: (operation: Operation) => void;
  onRemove: () => void;
}

function OperationField({ operation, match, names, onChange, onRemove }: OperationFieldProps) {
  const styles = useStyles2(getStyles);
  const { kind, name } = operation;
  const siblings = OPERATIONS.filter((option) => option.kind === kind);
  const rename = (next: string) => {
    // What both take stays.
    const added = newOperation(next);
    const same = kind !== 'calculation' && isEqual(FUNCTIONS[name]?.params, FUNCTIONS[next]?.params);
    onChange(
      kind === added.kind && (same || kind === 'calculation') ? { ...added, ...operation, name: next } : merge(added),
    );
  };
  const merge = (added: Operation): Operation =>
    added.kind === 'aggregation' && operation.kind === 'aggregation'
      ? { ...added, grouping: operation.grouping, labels: operation.labels }
      : added;

  return (
    <div className={styles.chip}>
      <Labelled label="Operation">
        {(id) => (
          <Combobox
            aria-labelledby={id}
            width="auto"
            minWidth={10}
            maxWidth={30}
            options={siblings}
            value={name}
            onChange={({ value }) => rename(value)}
          />
        )}
      </Labelled>
      {operation.kind === 'calculation' && (
        <NumberField
          param={{ name: 'Number', initial: '0' }}
          value={operation.number}
          onChange={(number) => onChange({ ...operation, number })}
        />
      )}
      {operation.kind !== 'calculation' &&
        (FUNCTIONS[name]?.params ?? []).map((param, i) => (
          <NumberField
            key={param.name}
            param={param}
            value={operation.params[i] ?? ''}
            onChange={(number) =>
              onChange({
                ...operation,
                params: [...operation.params.slice(0, i), number, ...operation.params.slice(i + 1)],
              })
            }
          />
        ))}
      {operation.kind === 'range' && (
        <>
          <span className={styles.word}>over</span>
          <Labelled label="Range">
            {(id) => (
              <Combobox
                aria-labelledby={id}
                width="auto"
                minWidth={12}
                maxWidth={24}
                createCustomValue
                options={rangeOptions()}
                value={operation.range}
                onChange={({ value }) => isRange(value) && onChange({ ...operation, range: value.trim() })}
              />
            )}
          </Labelled>
        </>
      )}
      {operation.kind === 'aggregation' && (
        <>
          <Labelled label="Grouping">
            {(id) => (
              <Combobox
                aria-labelledby={id}
                width={14}
                options={GROUPINGS}
                value={operation.grouping ?? ''}
                onChange={({ value }) =>
                  onChange({ ...operation, grouping: value || undefined, labels: value ? operation.labels : [] })
                }
              />
            )}
          </Labelled>
          {operation.grouping && (
            <MultiCombobox
              placeholder="Labels"
              width="auto"
              minWidth={16}
              maxWidth={50}
              createCustomValue
              options={async (search) => [
                ...optionsOf((await names.labels(match)).filter((label) => label.includes(search))),
                ...ofDashboard(search),
              ]}
              value={operation.labels}
              onChange={(options) => onChange({ ...operation, labels: options.map(({ value }) => value) })}
            />
          )}
        </>
      )}
      <IconButton name="times" tooltip={`Remove ${name}`} onClick={onRemove} />
    </div>
  );
}

const GROUPINGS: Array<ComboboxOption<'' | 'by' | 'without'>> = [
  { value: '', label: 'of all' },
  { value: 'by', label: 'by' },
  { value: 'without', label: 'without' },
];

const rangeOptions = (): ComboboxOption[] => [
  { value: '$__rate_interval', label: '$__rate_interval', description: 'Suits rate: no gap between two rows' },
  { value: '$__interval', label: '$__interval', description: 'From one row to the next' },
  ...optionsOf(['1m', '5m', '15m', '1h', '1d']),
  { value: '$__range', label: '$__range', description: 'The whole time range' },
  ...ofDashboard(''),
];

/** A number that is saved when one leaves the field or presses Enter, unless it is none. */
function NumberField({ param, value, onChange }: { param: Param; value: string; onChange: (value: string) => void }) {
  const [text, setText] = useState(value);
  const [seen, setSeen] = useState(value);
  if (value !== seen) {
    setSeen(value);
    setText(value);
  }
  const valid = isNumber(text) || (param.optional === true && text.trim() === '');
  const commit = () => valid && text.trim() !== value && onChange(text.trim());
  return (
    <Input
      aria-label={param.name}
      title={param.name}
      placeholder={param.name}
      width={10}
      value={text}
      invalid={!valid}
      onChange={({ currentTarget }) => setText(currentTarget.value)}
      onBlur={commit}
      onKeyDown={({ key }) => key === 'Enter' && commit()}
    />
  );
}

type OperationOption = ComboboxOption & { kind: Operation['kind'] };

const GROUPS = { range: 'Over time', aggregation: 'Across series', instant: 'Functions', calculation: 'Calculation' };

const OPERATIONS: OperationOption[] = [
  ...(['range', 'aggregation', 'instant'] as const).flatMap((kind) =>
    Object.entries(FUNCTIONS)
      .filter(([, { takes }]) => takes === kind)
      .map(([name, { help }]) => ({ kind, value: name, label: name, description: help, group: GROUPS[kind] })),
  ),
  ...CALCULATIONS.map((op) => ({
    kind: 'calculation' as const,
    value: op,
    label: op,
    description: /[<>=]/.test(op) ? 'Keeps the values that compare so with a number' : 'With a number',
    group: GROUPS.calculation,
  })),
];

function AddOperation({ onAdd }: { onAdd: (name: string) => void }) {
  return (
    <Labelled label="Add operation">
      {(id) => (
        <Combobox
          aria-labelledby={id}
          placeholder="Add a function, an aggregation …"
          width={34}
          options={OPERATIONS}
          value={null}
          onChange={({ value }) => onAdd(value)}
        />
      )}
    </Labelled>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  rows: css({ display: 'flex', flexDirection: 'column', gap: theme.spacing(0.5) }),
  row: css({ display: 'flex', alignItems: 'flex-start' }),
  fields: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(0.5), minWidth: 0, flexGrow: 1 }),
  chip: css({
    display: 'flex',
    flexWrap: 'wrap',
    alignItems: 'center',
    gap: theme.spacing(0.25),
    paddingRight: theme.spacing(0.5),
    background: theme.colors.background.secondary,
    borderRadius: theme.shape.radius.default,
    maxWidth: '100%',
  }),
  word: css({ padding: theme.spacing(0, 0.5), color: theme.colors.text.secondary }),
});
