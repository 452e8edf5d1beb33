import { expect } from '@playwright/test';
import { PLUGIN, test } from './grafana';
import { expectAxis, expectExact, expectLive, Panel, rowsOf } from './panel';
import { SOURCES } from './sources';

for (const { name, settings, query } of SOURCES) {
  test(`${name}: history and live tail are what a fresh query returns`, async ({
    page,
    grafana,
    gotoDashboardPage,
  }) => {
    const uid = await grafana.createDataSource({ name, ...settings() });
    const datasource = { type: PLUGIN, uid };
    const dashboard = await gotoDashboardPage({
      uid: await grafana.createDashboard(name, [
        { id: 1, title: 'Live', datasource, targets: [{ refId: 'A', datasource, ...query }], maxDataPoints: 600 },
      ]),
    });
    const panel = new Panel(page, 1);

    await test.step('opened', async () => {
      await expectExact(panel);
      await expectLive(panel);
      await expectExact(panel);
    });
    await test.step('reloaded', async () => {
      await page.reload();
      await expectExact(panel);
      await expectLive(panel);
      await expectExact(panel);
    });
    await test.step('another range', async () => {
      await dashboard.timeRange.set({ from: 'now-15m', to: 'now' });
      await expectLive(panel);
      await expectExact(panel);
    });
    await test.step('back again', async () => {
      await dashboard.timeRange.set({ from: 'now-5m', to: 'now' });
      await expectLive(panel);
      await expectExact(panel);
    });
  });
}

test('now-1m/m: a range that grows is what a fresh query returns, for a minute', async ({
  page,
  grafana,
  gotoDashboardPage,
}) => {
  const datasource = {
    type: PLUGIN,
    uid: await grafana.createDataSource({ name: 'signal', jsonData: { source: 'signal' } }),
  };
  const targets = [{ refId: 'A', datasource, shape: 'walk', tickInterval: 1000 }];
  await gotoDashboardPage({
    uid: await grafana.createDashboard('grows', [{ id: 1, title: 'Live', datasource, targets }]),
    timeRange: { from: 'now-1m/m', to: 'now' },
  });
  const panel = new Panel(page, 1);
  await rowsOf(panel);
  for (const end = Date.now() + 65_000; Date.now() < end;) {
    await expectExact(panel);
    await expectAxis(panel);
  }
});

test('a query of another data source follows the filters for that one', async ({
  page,
  grafana,
  gotoDashboardPage,
}) => {
  const signal = {
    type: PLUGIN,
    uid: await grafana.createDataSource({ name: 'signal', jsonData: { source: 'signal' } }),
  };
  const { settings } = SOURCES.find(({ name }) => name === 'recorder')!;
  const recorder = { type: PLUGIN, uid: await grafana.createDataSource({ name: 'recorder', ...settings() }) };
  const targets = [
    { refId: 'A', datasource: signal, shape: 'walk' },
    { refId: 'B', datasource: signal, from: { uid: recorder.uid }, expr: 'sum by (mode) (node_cpu_seconds_total)' },
  ];
  const filters = [signal, recorder].map((datasource, i) => ({
    name: `filters${i}`,
    type: 'adhoc',
    datasource,
    filters: [],
  }));
  await gotoDashboardPage({
    uid: await grafana.createDashboard('filters', [{ id: 1, title: 'Live', datasource: signal, targets }], {
      templating: { list: filters },
    }),
  });
  const panel = new Panel(page, 1);
  const modes = async () => (await rowsOf(panel)).find(({ refId }) => refId === 'B')?.series.map(({ name }) => name);
  await expect.poll(async () => (await modes())?.length).toBeGreaterThan(3);
  for (const mode of ['idle', 'user']) {
    // As the field above the dashboard does it.
    await page.evaluate((value) => {
      interface Variable {
        state: { name: string };
        setState: (state: object) => void;
      }
      interface Scene {
        state: { $variables: { state: { variables: Variable[] } } };
      }
      const { variables } = (window as unknown as { __grafanaSceneContext: Scene }).__grafanaSceneContext.state
        .$variables.state;
      variables
        .find(({ state }) => state.name === 'filters1')!
        .setState({ filters: [{ key: 'mode', operator: '=', value }] });
    }, mode);
    await expect.poll(modes).toEqual([expect.stringContaining(`"mode":"${mode}"`)]);
  }
  await expectLive(panel);
});
