import { expect } from '@playwright/test';
import { PLUGIN, test } from './grafana';
import { expectExact, expectLive, Panel } from './panel';
import { PUSHED_STATES } from './sources';

test('texts: a State timeline shows history and live tail, and a state that is new', async ({
  page,
  request,
  grafana,
  gotoDashboardPage,
}) => {
  const uid = await grafana.createDataSource({ name: 'states', jsonData: PUSHED_STATES });
  let states = ['running', 'idle'];
  const push = async (seconds: number) => {
    const at = Math.floor(Date.now() / 1000) - seconds;
    const state = states[Math.floor(at / 10) % states.length];
    const line = `pump,line=a state="${state}" ${at}`;
    return request.post(`/api/datasources/uid/${uid}/resources/push/influx?precision=s`, { data: line });
  };
  await expect(async () => expect((await push(120)).status()).toBe(204)).toPass();
  for (let seconds = 119; seconds > 0; seconds--) {
    await push(seconds);
  }
  const timer = setInterval(() => void push(0).catch(() => undefined), 1000); // until the test ends
  try {
    const datasource = { type: PLUGIN, uid };
    const targets = [{ refId: 'A', datasource, expr: 'pump_state', format: 'states' as const, legend: '{{line}}' }];
    const common = { datasource, targets, maxDataPoints: 600 };
    await gotoDashboardPage({
      uid: await grafana.createDashboard('states', [
        { id: 1, type: 'state-timeline', title: 'States', ...common },
        { id: 2, type: 'stat', title: 'State', ...common, options: { reduceOptions: { calcs: ['lastNotNull'] } } },
      ]),
    });
    const panel = new Panel(page, 1);
    // Grafana draws a timeline on a canvas. A Stat has the same fields, and the text of the newest row.
    const newest = (text: string) => page.getByText(text, { exact: true });
    await expectExact(panel);
    await expect(newest('running')).toBeVisible();
    await expect(newest('idle')).toBeVisible();
    await expectLive(panel);
    states = ['failed', 'idle'];
    await expect(newest('failed')).toBeVisible();
    await expectLive(panel);
    await expectExact(panel);
  } finally {
    clearInterval(timer);
  }
});
