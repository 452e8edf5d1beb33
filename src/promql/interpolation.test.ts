import { setTemplateSrv, TemplateSrv } from '@grafana/runtime';
import { escapeRegExp } from 'lodash';
import { replaced } from './interpolation';
import table from './variables.json';

interface Variable {
  value: string | string[];
  multi?: boolean;
  includeAll?: boolean;
  allValue?: string;
  options?: string[];
}

type Format = (value: string | string[], variable: Variable) => string;

/** What Grafana does around the data source's own format: notations, "All", and formats that a query asks for. */
function templateSrv(variable: Variable): TemplateSrv {
  const { value, includeAll, allValue, options = [] } = variable;
  const isAll = includeAll && value === '$__all';
  const current = isAll ? options : value;
  const named: Record<string, (values: string[]) => string> = {
    regex: (values) => (values.length === 1 ? escaped(values[0]!) : `(${values.map(escaped).join('|')})`),
    pipe: (values) => values.join('|'),
  };
  const escaped = (text: string) => escapeRegExp(text).replaceAll('/', '\\/');
  const written = (name: string | undefined, format: Format) =>
    isAll && allValue ? allValue : name ? named[name]!([current].flat()) : format(current, variable);
  const replace = (text: string, _: unknown, format: Format) =>
    text.replace(/\$v\b|\$\{v(?::(\w+))?\}|\[\[v\]\]/g, (_match, name?: string) => written(name, format));
  return { replace } as unknown as TemplateSrv;
}

describe(`variables are written as in Grafana’s own Prometheus data source: ${table.about}`, () => {
  it('in enough cases', () => expect(table.cases.length).toBeGreaterThanOrEqual(60));

  it.each(table.cases.map((one) => [one.name, one] as const))('%s', (_, { expr, variable, answer }) => {
    setTemplateSrv(templateSrv(variable));
    expect(replaced(expr, {})).toBe(answer);
  });
});
