import { expect } from '@playwright/test';
import { PLUGIN, test } from './grafana';
import { expectExact, expectLive, Panel, rowsOf } from './panel';

// The steps of docs/first-panel.md, in its words.
test('the first panel, as its page describes it', async ({ page, grafana }) => {
  await page.goto('/connections/add-new-connection');
  await page.getByPlaceholder(/search/i).fill('Continuum');
  await page.getByRole('link', { name: /Continuum/ }).click();
  await page.getByRole('button', { name: 'Add new data source' }).click();
  await page.waitForURL(/\/connections\/datasources\/edit\//);
  grafana.deleteLater(new URL(page.url()).pathname.split('/').pop()!, true);
  await page.getByRole('button', { name: /Save & test/ }).click();
  await expect(page.getByText(/The recorder has \d+ series/)).toBeVisible();

  await page.getByText('building a dashboard').click();
  await page.getByRole('button', { name: /Add visualization/ }).click();
  await page.getByRole('button', { name: PLUGIN }).click();
  const panel = new Panel(page, 1);
  const [rows] = await rowsOf(panel);
  expect(rows!.series.length).toBeGreaterThan(0);
  await expectLive(panel, 1); // in a panel of six hours, rows are far apart
  await expectExact(panel);
});
