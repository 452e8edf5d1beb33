import { css } from '@emotion/css';
import { GrafanaTheme2 } from '@grafana/data';
import { Button, ComboboxOption, IconButton, InlineLabel, Input, useStyles2 } from '@grafana/ui';
import { isEqual } from 'lodash';
import React, { ReactNode, useMemo, useState } from 'react';
import { LIMIT, Metric, Names } from './names';
import { selector } from './text';
import { useDraft } from '../components/useDraft';
import { Choice, found, limited, optionOf, optionsOf, Several, withVariables } from '../components/Choice';
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
  /** An expression that the builder can show. */
  expr: string;
  /**
   * The expression of a new query. Choosing a metric replaces all of it, because the user did not choose its
   * operations.
   */
  starter?: string;
  names: Names;
  onChange: (expr: string) => void;
}

/**
 * Shows the expression, and what it cannot hold yet: a filter without a value, or operations while no metric is chosen.
 */
export function Builder({ expr, starter, names, onChange }: BuilderProps) {
  const parsed = useMemo(() => toVisual(expr) ?? EMPTY, [expr]);
  // The draft belongs to one expression and is ignored for any other. Resetting it when `expr` changes would not do,
  // because the changed `expr` can come back before the draft that was set with it.
  const [draft, setDraft] = useState({ expr, visual: parsed });
  const visual = draft.expr === expr ? draft.visual : parsed;
  const [chosen, setChosen] = useState<Metric>();
  const [added, setAdded] = useState(0);

  const change = (part: Partial<Visual>) => {
    const next = { ...visual, ...part };
    const rendered = toExpr(next);
    const isSame = rendered === toExpr(visual);
    setDraft({ expr: isSame ? expr : rendered, visual: next });
    if (!isSame) {
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
            change(expr !== '' && expr === starter ? { ...EMPTY, metric: next.name } : { metric: next.name });
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
        <Choice
          key={added} // a new key empties the field again
          label="Add operation"
          placeholder="Add a function, an aggregation …"
          width={34}
          options={OPERATIONS}
          onChange={(name) => {
            setAdded(added + 1);
            change({ operations: withOperation(operations, name) });
          }}
        />
      </Row>
    </div>
  );
}

const complete = (filters: Filter[]) =>
  filters.flatMap(({ label, op, value }) => (label !== undefined && value !== undefined ? { label, op, value } : []));

/**
 * The operations with one more. A function over a range replaces the one that is there, because there can be only one.
 */
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

/** What a metric is, in a line. */
const describe = ({ type, unit, help }: Metric) =>
  [[type, unit].filter(Boolean).join(', '), help].filter(Boolean).join(' · ');

function MetricField({ value, names, onChange }: { value: string; names: Names; onChange: (metric: Metric) => void }) {
  const [known, setKnown] = useState<Metric[]>([]);
  const find = async (search: string) => {
    const metrics = await names.metrics(undefined, search);
    setKnown(metrics);
    const options = metrics.map((metric) => ({ ...optionOf(metric.name), description: describe(metric) || undefined }));
    return withVariables(search, limited(options, LIMIT));
  };
  const choose = (name: string) =>
    onChange(known.find((metric) => metric.name === name) ?? { name, type: '', unit: '', help: '' });
  return (
    <Choice
      label="Metric"
      placeholder="Choose a metric"
      width={[40, 80]}
      options={find}
      value={value || undefined}
      onChange={choose}
      onClear={() => choose('')}
    />
  );
}

/** Finds labels of the selected series. */
export const labelsOf = (names: Names, match?: string) => async (search: string) =>
  withVariables(search, limited(optionsOf(await names.labels(match, search)), LIMIT));

const EMPTY_VALUE = '(empty)';

interface FilterFieldProps {
  filter: Filter;
  /** Selects the series as if this filter were not there. */
  match: string;
  names: Names;
  onChange: (filter: Filter) => void;
  onRemove: () => void;
}

function FilterField({ filter, match, names, onChange, onRemove }: FilterFieldProps) {
  const styles = useStyles2(getStyles);
  const { label, op, value } = filter;
  const findValues = async (search: string) => {
    const known = label === undefined ? [] : await names.values(label, match, search);
    const empty = { ...optionOf(EMPTY_VALUE), description: 'Series without this label' };
    return [...withVariables(search, limited(optionsOf(known), LIMIT)), ...(search ? [] : [empty])];
  };
  return (
    <div className={styles.chip}>
      <Choice
        label="Label"
        placeholder="Label"
        width={[12, 30]}
        options={labelsOf(names, match)}
        value={label}
        onChange={(next) => onChange({ ...filter, label: next })}
      />
      <Choice
        label="Operator"
        width={9}
        options={OPERATORS}
        value={op}
        onChange={(next) => onChange({ ...filter, op: next })}
      />
      <Choice
        label="Value"
        placeholder="Value"
        width={[14, 50]}
        options={findValues}
        value={value === '' ? EMPTY_VALUE : value}
        onChange={(next) => onChange({ ...filter, value: next === EMPTY_VALUE ? '' : next })}
      />
      <IconButton name="times" tooltip="Remove label filter" onClick={onRemove} />
    </div>
  );
}

const OPERATORS = optionsOf(MATCH_OPERATORS);

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
  const rename = (next: string) => {
    // Parameters and labels that both operations take are kept.
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
      <Choice label="Operation" width={[10, 30]} options={SIBLINGS[kind]} value={name} onChange={rename} />
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
            onChange={(number) => onChange({ ...operation, params: replaced(operation.params, i, number) })}
          />
        ))}
      {operation.kind === 'range' && (
        <>
          <span className={styles.word}>over</span>
          <Choice
            label="Range"
            width={[12, 24]}
            options={findRanges}
            value={operation.range}
            onChange={(range) => isRange(range) && onChange({ ...operation, range: range.trim() })}
          />
        </>
      )}
      {operation.kind === 'aggregation' && (
        <>
          <Choice
            label="Grouping"
            width={14}
            options={GROUPINGS}
            value={operation.grouping ?? OF_ALL}
            onChange={(grouping) =>
              onChange(
                grouping === 'by' || grouping === 'without'
                  ? { ...operation, grouping }
                  : { ...operation, grouping: undefined, labels: [] },
              )
            }
          />
          {operation.grouping && (
            <Several
              label="Labels to group by"
              placeholder="Labels"
              width={[16, 50]}
              options={labelsOf(names, match)}
              values={operation.labels}
              onChange={(labels) => onChange({ ...operation, labels })}
            />
          )}
        </>
      )}
      <IconButton name="times" tooltip={`Remove ${name}`} onClick={onRemove} />
    </div>
  );
}

const replaced = (values: string[], i: number, value: string) => [...values.slice(0, i), value, ...values.slice(i + 1)];

const OF_ALL = 'of all';
const GROUPINGS = optionsOf([OF_ALL, 'by', 'without']);

const RANGES: ComboboxOption[] = [
  { ...optionOf('$__rate_interval'), description: 'Suits rate: no gap between two rows' },
  { ...optionOf('$__interval'), description: 'From one row to the next' },
  ...optionsOf(['1m', '5m', '15m', '1h', '1d']),
  { ...optionOf('$__range'), description: 'The whole time range' },
];

const findRanges = (search: string) =>
  Promise.resolve([...RANGES.filter(({ value }) => value.includes(search)), ...found(search, [])]);

/** A number. It is saved when the user leaves the field or presses Enter, if it is valid. */
function NumberField({ param, value, onChange }: { param: Param; value: string; onChange: (value: string) => void }) {
  const isValid = (text: string) => isNumber(text) || (param.optional === true && text.trim() === '');
  const { draft, setDraft, handlers } = useDraft(value, (text) => isValid(text) && onChange(text.trim()));
  return (
    <Input
      aria-label={param.name}
      title={param.name}
      placeholder={param.name}
      width={10}
      value={draft}
      invalid={!isValid(draft)}
      onChange={({ currentTarget }) => setDraft(currentTarget.value)}
      {...handlers}
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

const optionsOfKind = (kind: Operation['kind']) => OPERATIONS.filter((option) => option.kind === kind);
const SIBLINGS = {
  range: optionsOfKind('range'),
  aggregation: optionsOfKind('aggregation'),
  instant: optionsOfKind('instant'),
  calculation: optionsOfKind('calculation'),
};

const getStyles = (theme: GrafanaTheme2) => ({
  rows: css({ display: 'flex', flexDirection: 'column', gap: theme.spacing(0.5) }),
  row: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'flex-start', rowGap: theme.spacing(0.5) }),
  fields: css({ display: 'flex', flexWrap: 'wrap', gap: theme.spacing(0.5), minWidth: 0, flex: '1 1 280px' }),
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
