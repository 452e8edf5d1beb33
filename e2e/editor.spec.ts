import { expect } from '@playwright/test';
import { Grafana, PLUGIN, test } from './grafana';
import { expectExact, expectLive, Panel, rowsOf, shownBy } from './panel';
import { SOURCES } from './sources';
import { Query } from '../src/types';

/** A dashboard whose only panel is to be edited. */
async function edited(grafana: Grafana, source: string, query: Partial<Query>) {
  const { name, settings } = SOURCES.find(({ name }) => name === source)!;
  const datasource = { type: PLUGIN, uid: await grafana.createDataSource({ name, ...settings() }) };
  const targets = [{ refId: 'A', datasource, ...query }];
  const uid = await grafana.createDashboard(`editor ${name}`, [{ id: 1, title: 'Edited', datasource, targets }]);
  return { dashboard: { uid }, id: '1' };
}

test('signal: what is entered is shown, live', async ({ page, grafana, gotoPanelEditPage }) => {
  const editor = await gotoPanelEditPage(await edited(grafana, 'signal', {}));
  const row = editor.getQueryEditorRow('A');
  const panel = new Panel(page, 1);
  await expectLive(panel);

  await row.getByLabel('Shape').fill('Sine');
  await row.getByLabel('Shape').press('Enter');
  await row.getByLabel('Upper limit').fill('5');
  await row.getByLabel('Upper limit').press('Enter');
  await row.getByLabel('Tick interval (ms)').fill('2000');
  await row.getByLabel('Tick interval (ms)').press('Enter');
  await expect.poll(async () => (await rowsOf(panel))[0]!.step).toBe(2000);
  const values = (await rowsOf(panel))[0]!.series[0]!.values as number[];
  expect(Math.max(...values)).toBeLessThanOrEqual(5);
  await expectLive(panel, 2);
  await expectExact(panel);

  await row.getByText('With Streaming').click();
});

test('recorder: an expression is typed as code', async ({ page, grafana, gotoPanelEditPage }) => {
  const editor = await gotoPanelEditPage(await edited(grafana, 'recorder', { expr: '', editorMode: 'code' }));
  const row = editor.getQueryEditorRow('A');
  const code = row.getByRole('textbox', { name: 'PromQL' });
  await code.fill('node_load1');
  await code.press('Shift+Enter');
  const panel = new Panel(page, 1);
  await expectLive(panel);
  await expectExact(panel);
});

test('recorder: an accepted value closes its braces, and Tab leaves the field', async ({
  page,
  grafana,
  gotoPanelEditPage,
}) => {
  const editor = await gotoPanelEditPage(await edited(grafana, 'recorder', { expr: 'node_load1', editorMode: 'code' }));
  const code = editor.getQueryEditorRow('A').getByRole('textbox', { name: 'PromQL' });
  await expectLive(new Panel(page, 1)); // suggestions are what there is within the panel's time range
  await editor.refreshPanel();
  await code.press('ControlOrMeta+a'); // fill leaves what Monaco does not keep in its text area
  await code.pressSequentially('node_cpu_seconds_total{mode="idl');
  await page.getByRole('option', { name: 'idle' }).click();
  await code.press('Tab');
  await expect(code).not.toBeFocused();
  await expect(code).toHaveValue('node_cpu_seconds_total{mode="idle"}');
});

test('recorder: labels complete the legend, and every button has a name', async ({ grafana, gotoPanelEditPage }) => {
  const expr = 'sum by (mode) (rate(node_cpu_seconds_total[30s]))';
  const editor = await gotoPanelEditPage(await edited(grafana, 'recorder', { expr }));
  const row = editor.getQueryEditorRow('A');
  await row.getByLabel('Legend').fill('CPU {{');
  await expect(row.locator('datalist option')).toHaveAttribute('value', 'CPU {{mode}}');
  await expect(row.getByRole('button', { name: 'Clear value' })).toBeVisible();
  await expect(row.getByLabel('Grouping')).toHaveValue('by');
  await row.getByRole('button', { name: 'Clear value' }).click();
  await expect(row.getByRole('combobox', { name: 'Metric' })).toHaveValue('');
});

test('recorder: another metric replaces the whole of a new query', async ({ page, grafana, gotoPanelEditPage }) => {
  const { dashboard, id } = await edited(grafana, 'recorder', {});
  const editor = await gotoPanelEditPage({ dashboard, id });
  const row = editor.getQueryEditorRow('A');
  await expect(row.getByText(/^sum by \(mode\) \(rate\(node_cpu_seconds_total/)).toBeVisible();
  await row.getByRole('combobox', { name: 'Metric' }).fill('node_load15');
  await page.getByRole('option', { name: /^node_load15/ }).click();
  await expect(row.locator('code')).toHaveText('node_load15');
  await expectLive(new Panel(page, 1));
});

test('a panel that changes to another data source begins with a new query of that one', async ({
  page,
  grafana,
  gotoPanelEditPage,
}) => {
  const uid = await grafana.createDataSource({ name: 'another', jsonData: { source: 'signal' } });
  const { name } = await (await page.request.get(`/api/datasources/uid/${uid}`)).json();
  const editor = await gotoPanelEditPage(await edited(grafana, 'recorder', { expr: 'node_load1', format: 'newest' }));
  // Not `editor.datasource`: a query has a picker of its own, under *From*.
  const picker = page.getByTestId('data-testid query group top section').getByLabel('Select a data source');
  await picker.fill(name);
  await page.getByRole('button', { name }).first().click();
  const row = editor.getQueryEditorRow('A');
  await expect(row.getByLabel('Shape')).toHaveValue('Walk');
  await expect(row.getByLabel('Format')).toHaveValue('Newest per series'); // means the same to both
  const panel = new Panel(page, 1);
  await expect.poll(async () => (await shownBy(panel))?.queries).toMatchObject([{ shape: 'walk', tickInterval: 1000 }]);
  expect((await shownBy(panel))?.queries[0]).not.toHaveProperty('expr');
});

test('recorder: a value is completed within a regular expression', async ({ page, grafana, gotoPanelEditPage }) => {
  const editor = await gotoPanelEditPage(await edited(grafana, 'recorder', { expr: 'node_load1', editorMode: 'code' }));
  const code = editor.getQueryEditorRow('A').getByRole('textbox', { name: 'PromQL' });
  await expectLive(new Panel(page, 1)); // suggestions are what there is within the panel's time range
  await editor.refreshPanel();
  await code.press('ControlOrMeta+a');
  await code.pressSequentially('node_cpu_seconds_total{mode=~"user|idl');
  await page.getByRole('option', { name: 'idle' }).click();
  await code.press('Tab');
  await expect(code).toHaveValue('node_cpu_seconds_total{mode=~"user|idle"}');
});

test('metrics API: a metric is chosen among those that the service names', async ({
  page,
  grafana,
  gotoPanelEditPage,
}) => {
  const editor = await gotoPanelEditPage(await edited(grafana, 'metrics-api', {}));
  const metric = editor.getQueryEditorRow('A').getByLabel('Metric');
  await metric.fill('hall');
  await page.getByRole('option', { name: 'temperature_hall' }).click();
  const panel = new Panel(page, 1);
  await expectLive(panel);
  await expectExact(panel);
});
