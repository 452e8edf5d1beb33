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
