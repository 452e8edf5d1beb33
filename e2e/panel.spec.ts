import { PLUGIN, test } from './grafana';
import { expectExact, expectLive, Panel } from './panel';
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
