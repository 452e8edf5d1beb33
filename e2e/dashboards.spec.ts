import { expect, Page } from '@playwright/test';
import { readdirSync, readFileSync } from 'fs';
import path from 'path';
import { test } from './grafana';
import { expectExact, expectLive, Panel, panelsInSight, shownBy } from './panel';
import { SOURCES } from './sources';

const root = path.join(__dirname, '..');
const provisioned = path.join(root, 'provisioning/dashboards');
const dashboards = readdirSync(provisioned)
  .filter((file) => file.endsWith('.json'))
  .map((file) => JSON.parse(readFileSync(path.join(provisioned, file), 'utf8')) as { uid: string; title: string });

for (const { uid, title } of dashboards) {
  test(`${title}: every panel has history`, async ({ page }) => {
    await expectHistory(page, `/d/${uid}`);
  });
}

const { includes } = JSON.parse(readFileSync(path.join(root, 'src/plugin.json'), 'utf8')) as {
  includes: Array<{ name: string; path: string }>;
};

for (const { name, path: file } of includes) {
  test(`${name}, imported from the package: every panel has history`, async ({ page, grafana }) => {
    const uid = await grafana.importDashboard(file, /machine/.test(file) ? 'continuum-machine' : 'continuum-plant');
    await expectHistory(page, `/d/${uid}`);
  });
}

/**
 * Opens a dashboard, and waits until every panel in sight has rows of the time before. Prints how long each took, from
 * when the dashboard was there: loading Grafana itself is not its doing.
 */
async function expectHistory(page: Page, address: string) {
  await page.setViewportSize({ width: 1280, height: 2000 }); // Grafana asks for panels that are in sight
  await page.goto(address);
  let there = Infinity;
  const took = new Map<string, string>();
  const missing = async () => {
    const panels = await panelsInSight(page);
    if (panels.length === 0) {
      return ['any panel'];
    }
    there = Math.min(there, Date.now());
    const without: string[] = [];
    for (const panel of panels) {
      const shown = await shownBy(panel);
      const found = shown?.rows.length && shown.rows.every(({ times }) => times.length > 0 && times[0]! < there);
      if (!found || shown.errors.length) {
        without.push([panel.id, ...(shown?.errors ?? []), ...(shown?.notices ?? [])].join(' '));
      } else if (!took.has(`${panel.id}`)) {
        took.set(`${panel.id}`, `${panel.id} ${((Date.now() - there) / 1000).toFixed(1)} s`);
      }
    }
    return without;
  };
  await expect.poll(missing, { message: 'panels without history', intervals: [100] }).toEqual([]);
  console.log(`${address}: ${[...took.values()].join(', ')}`);
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
