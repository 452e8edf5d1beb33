import { expect } from '@playwright/test';
import { PLUGIN, test } from './grafana';
import { SOURCES } from './sources';

for (const { name, label, fill } of SOURCES) {
  test(`${name}: the settings are filled in, saved and well`, async ({ page, grafana, gotoDataSourceConfigPage }) => {
    const uid = await grafana.createDataSource({ name, jsonData: {} });
    const settings = await gotoDataSourceConfigPage(uid);
    await page.getByRole('radio', { name: label }).check();
    await fill(page);

    const health = await settings.saveAndTest();
    expect(health.status(), await health.text()).toBe(200);
    await expect(settings).toHaveAlert('success');

    // The settings are still there after a reload.
    await page.reload();
    await expect(page.getByRole('radio', { name: label })).toBeChecked();
    const saved = await (await page.request.get(`/api/datasources/uid/${uid}`)).json();
    expect(saved).toMatchObject({ type: PLUGIN });
    expect(saved.jsonData.source ?? 'recorder').toBe(name); // the default source is not saved
  });
}

test('an address at which nobody listens is reported', async ({ page, grafana, gotoDataSourceConfigPage }) => {
  const settings = await gotoDataSourceConfigPage(await grafana.createDataSource({ name: 'nobody', jsonData: {} }));
  await page.getByRole('radio', { name: 'Prometheus-compatible server' }).check();
  await page.getByLabel('URL').fill('http://127.0.0.1:1');
  await settings.saveAndTest();
  await expect(settings).toHaveAlert('error', { hasText: '127.0.0.1:1' });
});
