import { getValueFormats } from '@grafana/data';
import { readFileSync } from 'fs';

it('all units of the back end are known to Grafana', () => {
  const known = new Set(getValueFormats().flatMap(({ submenu }) => submenu.map(({ value }) => value)));
  const source = readFileSync('pkg/source/unit/unit.go', 'utf8');
  const ids = [...source.matchAll(/(?:Amount: |Unit\{|, )"([^"]+)"(?:, "([^"]+)")?\}/g)].flatMap(
    ([, ...found]) => found,
  );
  expect(ids.length).toBeGreaterThan(80);
  expect(ids.filter((id) => id && !known.has(id))).toEqual([]);
});
