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

test('a field whose text means nothing is refused by its name, by one click, and others keep their defaults', async ({
  page,
  grafana,
  gotoDataSourceConfigPage,
}) => {
  const uid = await grafana.createDataSource({ name: 'typed', jsonData: { source: 'recorder' } });
  const settings = await gotoDataSourceConfigPage(uid);
  await page.getByLabel(/^Retention/).fill('15 minutes'); // an hour is the least
  await settings.saveAndTest();
  await expect(settings).toHaveAlert('error', { hasText: 'recorder, retention: "15 minutes" is not valid' });
  await expect(page.getByText(/^Retention: enter a duration .* from 1h to 3650d/)).toBeVisible();
  await expect(page.getByLabel(/^Out-of-order window/)).toHaveAttribute('placeholder', '7d');
  await expect(page.getByLabel(/^Stop when not used/)).toHaveAttribute('placeholder', '30d');

  await page.getByLabel(/^Retention/).fill('15 days');
  await settings.saveAndTest();
  await expect(settings).toHaveAlert('success');
  await expect(page.getByLabel(/^Retention/)).toHaveValue('15d');
});

test('text that can only mean one thing is taken, and the test of the settings begins with what is wrong', async ({
  page,
  grafana,
  gotoDataSourceConfigPage,
}) => {
  const uid = await grafana.createDataSource({ name: 'taken', jsonData: { source: 'recorder' } });
  const settings = await gotoDataSourceConfigPage(uid);
  const saved = async () => {
    const { jsonData } = await (await page.request.get(`/api/datasources/uid/${uid}`)).json();
    return jsonData.recorder;
  };
  await page.getByRole('button', { name: 'MQTT', exact: true }).click();
  await page.getByLabel(/^URL/).fill('127.0.0.1:18830');
  await page.getByLabel(/^Lookback/).fill('15 minutes');
  await settings.saveAndTest();
  expect(await saved()).toMatchObject({ lookback: 900_000, inputs: [{ type: 'mqtt', url: 'tcp://127.0.0.1:18830' }] });

  await page.getByLabel(/^URL/).fill('127.0.0.1:1');
  await settings.saveAndTest();
  await expect(settings).toHaveAlert('error', {
    hasText:
      /^mqtt: no connection .* nothing listens at 127\.0\.0\.1:1: .*The recorder has \d+ series.*\nhost: \S+ samples\/s/,
  });
});
