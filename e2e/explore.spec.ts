import { expect, Page } from '@playwright/test';
import { PLUGIN, test } from './grafana';
import { expectExact, expectLive, Panel, rowsOf, shownBy } from './panel';
import { SOURCES } from './sources';
import { Query } from '../src/types';

async function explore(page: Page, uid: string, query: Partial<Query>, range = { from: 'now-5m', to: 'now' }) {
  const datasource = { type: PLUGIN, uid };
  const panes = { one: { datasource: uid, queries: [{ refId: 'A', datasource, ...query }], range } };
  await page.goto(`/explore?schemaVersion=1&orgId=1&panes=${encodeURIComponent(JSON.stringify(panes))}`);
  return new Panel(page, 'explore');
}

/** Expects rows whenever one looks, for some seconds. */
async function expectNeverEmpty(panel: Panel) {
  for (const end = Date.now() + 4000; Date.now() < end;) {
    expect((await shownBy(panel))?.rows[0]?.times.length, 'rows of the graph').toBeGreaterThan(0);
  }
  await expect(panel.page.getByText('No data')).toHaveCount(0);
  await expect(panel.page.getByText('Logs', { exact: true })).toHaveCount(0);
}

const start = (page: Page) => page.getByText('Live', { exact: true }).click();
const stop = (page: Page) => page.getByRole('button', { name: 'Stop and exit the live stream' }).click();

for (const { name, settings, query } of SOURCES) {
  test(`${name}: the graph of Explore is what a fresh query returns, before, during and after Live`, async ({
    page,
    grafana,
  }) => {
    const panel = await explore(page, await grafana.createDataSource({ name, ...settings() }), query);
    await expectLive(panel);
    await expectExact(panel);
    await start(page);
    await expectNeverEmpty(panel);
    await expectLive(panel);
    await expectExact(panel);
    await stop(page);
    await expectExact(panel);
    await expectNeverEmpty(panel);
    await expectLive(panel);
    await expectExact(panel);
  });
}

test('Live shows the answer to a plain query that takes a third of a second', async ({ page, grafana }) => {
  const uid = await grafana.createDataSource({ name: 'signal', jsonData: { source: 'signal' } });
  const panel = await explore(page, uid, { shape: 'walk', withStreaming: false });
  const before = (await rowsOf(panel))[0]!.times.at(-1)!;
  await page.route('**/api/ds/query**', (route) =>
    new Promise((done) => setTimeout(done, 350)).then(() => route.continue()),
  );
  await start(page);
  await expect.poll(async () => (await rowsOf(panel))[0]!.times.at(-1)).toBeGreaterThan(before);
});
