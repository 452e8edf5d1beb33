/**
 * Writes src/promql/variables.json: how Grafana's own Prometheus data source writes variables into queries.
 *
 *   GRAFANA=/path/to/grafana npx jest --config scripts/jest.config.js
 *
 * The answers are what Grafana's source code says when it is run: `interpolateQueryExpr` of packages/grafana-prometheus,
 * with the feature toggle prometheusSpecialCharsInLabelValues, called by the variables of the @grafana/scenes that is
 * installed there. Without the toggle a value with a double quote breaks the query. The tests read the JSON alone.
 */
import { CustomVariable, sceneGraph, SceneTimeRange, SceneVariableSet } from '@grafana/scenes';
import { config } from '@grafana/runtime';
import { writeFileSync } from 'fs';
import path from 'path';

const grafana = process.env.GRAFANA ?? '';
const { version } = require(path.join(grafana, 'package.json')) as { version: string };
const { interpolateQueryExpr } = require(path.join(grafana, 'packages/grafana-prometheus/src/escaping.ts')) as {
  interpolateQueryExpr: (value: string | string[], variable: unknown) => string;
};

interface Variable {
  value: string | string[];
  multi?: boolean;
  includeAll?: boolean;
  allValue?: string;
  /** What "All" stands for. */
  options?: string[];
}

const TEMPLATES = {
  double: 'up{a=~"$v"}',
  single: "up{a=~'${v}'}",
  backtick: 'up{a=~`[[v]]`}',
  within: 'up{a=~"x-${v}-y"}',
  label: 'sum by ($v) (up)',
  metric: '$v{a="b"}',
  regex: 'up{a=~"${v:regex}"}',
  pipe: 'up{a=~"${v:pipe}"}',
};

const VARIABLES: Record<string, Variable> = {
  'one value': { value: 'job' },
  'a dot': { value: 'a.b' },
  'a backslash': { value: 'a\\b' },
  'a double quote': { value: 'a"b' },
  'a single quote': { value: "a'b" },
  'a whole matcher': { value: 'job="api"' },
  'one of several': { value: ['job'], multi: true },
  'one of several, with a dot': { value: ['a.b'], multi: true },
  'one of several, with a backslash': { value: ['a\\b'], multi: true },
  'one of several, with quotes': { value: ['a"b\'c'], multi: true },
  'two of several': { value: ['a.b', 'c|d'], multi: true },
  'one where all can be chosen': { value: 'a.b', includeAll: true },
  all: { value: '$__all', includeAll: true, multi: true, options: ['a.b', 'c'] },
  'all, as custom': { value: '$__all', includeAll: true, multi: true, allValue: '.+', options: ['a', 'b'] },
};

test('the answers are written', () => {
  config.featureToggles.prometheusSpecialCharsInLabelValues = true;
  const cases = Object.entries(VARIABLES).flatMap(([name, variable]) =>
    Object.entries(TEMPLATES).map(([place, expr]) => ({ name: `${name}: ${place}`, expr, variable, answer: answer(expr, variable) })),
  );
  const about = `Grafana ${version}, written by scripts/promql-variables.generate.ts`;
  writeFileSync(path.join(__dirname, '../src/promql/variables.json'), JSON.stringify({ about, cases }, null, 2) + '\n');
});

function answer(expr: string, { value, multi, includeAll, allValue, options = [value].flat() }: Variable): string {
  const variable = new CustomVariable({
    name: 'v',
    isMulti: multi,
    includeAll,
    allValue,
    value,
    text: value,
    options: options.map((option) => ({ label: option, value: option })),
  });
  const scene = new SceneTimeRange({ $variables: new SceneVariableSet({ variables: [variable] }) });
  return sceneGraph.interpolate(scene, expr, {}, interpolateQueryExpr as never);
}
