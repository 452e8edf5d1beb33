import { expect } from '@playwright/test';
import { test } from './grafana';
import { expectExact, expectLive, Panel, rowsOf, shownBy } from './panel';
import { SOURCES } from './sources';

// The panels of each dashboard.
const DASHBOARDS = [
  { uid: 'continuum-plant', panels: [1, 2, 3, 4, 5, 6] },
  { uid: 'continuum-recorder', search: '?var-ds=continuum-plant', panels: [1, 2, 3, 4, 5, 6, 7] },
  { uid: 'continuum-machine', panels: [1, 2, 3, 4, 5] },
];

for (const { uid, search = '', panels } of DASHBOARDS) {
  test(`${uid}: every panel has rows`, async ({ page }) => {
    await page.setViewportSize({ width: 1280, height: 2000 }); // Grafana asks for panels that are in sight
    await page.goto(`/d/${uid}${search}`);
    for (const id of panels) {
      const panel = new Panel(page, id);
      await rowsOf(panel);
      expect((await shownBy(panel))?.errors).toEqual([]);
    }
  });
}

test('a recorder and a Prometheus are in one live panel, exact', async ({ page, grafana }) => {
  const { settings } = SOURCES.find(({ name }) => name === 'prometheus')!;
  const beside = await grafana.createDataSource({ name: 'beside', ...settings() });
  await page.setViewportSize({ width: 1280, height: 2000 });
  await page.goto(`/d/continuum-plant?var-beside=${beside}&viewPanel=panel-6`);
  const panel = new Panel(page, 6);
  await expectLive(panel);
  await expectExact(panel);
  const { rows, state, notices } = (await shownBy(panel))!;
  expect(state).toBe('Streaming');
  expect(notices).toEqual([]);
  expect(rows.map(({ refId, series }) => [refId, series.length > 0])).toEqual([
    ['A', true],
    ['B', true],
  ]);
});
