import { expect } from '@playwright/test';
import { PLUGIN, queryAll, test } from './grafana';
import { expectLive, Panel, rowsOf, shownBy } from './panel';
import { answered } from './rows';
import { PUSHED_STATES } from './sources';

const SQUARE = { shape: 'square', lowerLimit: -1, upperLimit: 1, tickInterval: 100 }; // 15 s of 1, 15 s of -1

test('rows above 0 are regions on a live panel, as a fresh query has them', async ({
  page,
  grafana,
  gotoDashboardPage,
}) => {
  const uid = await grafana.createDataSource({ name: 'signal', jsonData: { source: 'signal' } });
  const datasource = { type: PLUGIN, uid };
  const event = { title: 'Alarm of a {{shape}}', text: 'up to ${limit}', tags: '{{shape}}, e2e', step: '1s' };
  const target = { refId: 'Anno', datasource, ...SQUARE, event };
  await gotoDashboardPage({
    uid: await grafana.createDashboard(
      'annotations',
      [{ id: 1, title: 'Live', datasource, targets: [{ refId: 'A', datasource, shape: 'walk' }] }],
      {
        annotations: { list: [{ name: 'Alarms', enable: true, iconColor: 'red', datasource, target }] },
        templating: { list: [{ name: 'limit', type: 'constant', query: '1', hide: 2 }] },
      },
    ),
  });
  const panel = new Panel(page, 1);
  await expectLive(panel);
  const { to, annotations } = (await shownBy(panel))!;
  const from = annotations[0]!.time; // the panel has moved on since
  expect(annotations.length).toBeGreaterThan(8); // in five minutes
  for (const { title, text, tags, isRegion } of annotations.slice(1, -1)) {
    expect({ title, text, tags, isRegion }).toEqual({
      title: 'Alarm of a square',
      text: 'up to 1',
      tags: ['square', 'e2e'],
      isRegion: true,
    });
  }
  const fresh = await queryAll(page.request, [{ ...target, intervalMs: 1000, maxDataPoints: 1000 }], from, to);
  const { times, series } = answered(fresh, 'Anno');
  const above = times.filter((_, row) => series[0]!.values[row]! > 0);
  const within = ({ time, timeEnd }: { time: number; timeEnd: number }) =>
    above.filter((t) => t >= time && t <= timeEnd);
  // The last region may have grown since it was asked for.
  for (const region of annotations.slice(0, -1)) {
    expect(within(region)).toHaveLength((region.timeEnd - region.time) / 1000 + 1);
  }
  const end = annotations.at(-1)!.time;
  const begun = above.filter((t) => t < end && t >= annotations[0]!.time);
  expect(annotations.slice(0, -1).flatMap(within)).toEqual(begun);

  await page.getByTestId('data-testid annotation-marker').nth(2).hover();
  await expect(page.getByText('Alarm of a square')).toBeVisible();
});

test('what cannot be read is said on the panel', async ({ page, grafana, gotoDashboardPage }) => {
  const uid = await grafana.createDataSource({ name: 'signal', jsonData: { source: 'signal' } });
  const datasource = { type: PLUGIN, uid };
  const target = { refId: 'Anno', datasource, ...SQUARE, shape: 'triangle' };
  await gotoDashboardPage({
    uid: await grafana.createDashboard(
      'broken annotations',
      [{ id: 1, title: 'Live', datasource, targets: [{ refId: 'A', datasource, shape: 'walk' }] }],
      { annotations: { list: [{ name: 'Alarms', enable: true, iconColor: 'red', datasource, target }] } },
    ),
  });
  const panel = new Panel(page, 1);
  await rowsOf(panel);
  await expect
    .poll(async () => (await shownBy(panel))?.annotations)
    .toMatchObject([{ title: 'Events could not be read', text: expect.stringContaining('triangle') }]);
});

test('an annotation of changes of state is made in the editor', async ({
  page,
  request,
  grafana,
  gotoDashboardPage,
}) => {
  const uid = await grafana.createDataSource({ name: 'states', jsonData: PUSHED_STATES });
  const now = Math.floor(Date.now() / 1000);
  const lines = Array.from({ length: 240 }, (_, i) => now - 240 + i).map(
    (at) => `pump,pump=p1 state="${Math.floor(at / 30) % 2 ? 'running' : 'idle'}" ${at}`,
  );
  const push = () =>
    request.post(`/api/datasources/uid/${uid}/resources/push/influx?precision=s`, { data: lines.join('\n') });
  await expect(async () => expect((await push()).status()).toBe(204)).toPass();

  const datasource = { type: PLUGIN, uid };
  const target = { refId: 'Anno', datasource, expr: 'pump_state', editorMode: 'code' };
  const dashboard = await grafana.createDashboard(
    'states',
    [{ id: 1, title: 'State', datasource, targets: [{ refId: 'A', datasource, expr: 'pump_state' }] }],
    { annotations: { list: [{ name: 'Pumps', enable: true, iconColor: 'blue', datasource, target }] } },
  );
  await page.goto(`/d/${dashboard}?editview=annotations`);
  await page.getByRole('gridcell', { name: 'Pumps', exact: true }).click();
  await page.getByLabel('Events from').fill('Changes');
  await page.getByRole('option', { name: 'Changes of state' }).click();
  await page.getByLabel('Title').fill('Pump {{pump}}');
  await page.getByLabel('Title').press('Enter');
  await page.getByLabel('Step', { exact: true }).fill('1s');
  await page.getByLabel('Step', { exact: true }).press('Enter');
  await expect(page.getByText(/^[78] events/)).toBeVisible();

  await page.getByRole('button', { name: 'Back to list' }).click();
  await page.getByTestId('data-testid Back to dashboard button').click();
  const panel = new Panel(page, 1);
  await expect.poll(async () => (await shownBy(panel))?.annotations.length).toBeGreaterThan(6);
  const { annotations } = (await shownBy(panel))!;
  for (const { time, title, text, isRegion } of annotations) {
    const running = (time / 30_000) % 2 === 1;
    expect({ title, text, isRegion }).toEqual({
      title: 'Pump p1',
      text: running ? 'idle → running' : 'running → idle',
      isRegion: false,
    });
  }
  await gotoDashboardPage({ uid: dashboard }); // leaves what is not saved
});
