import { expect, Page } from '@playwright/test';
import type { PanelData } from '@grafana/data';
import { queryAll } from './grafana';
import { answered, differences, Rows } from './rows';

/** A panel of the dashboard that a page shows, by its number or key, or with `explore` the graph of Explore. */
export class Panel {
  constructor(
    readonly page: Page,
    readonly id: number | string,
  ) {}
}

/** An event or a region. Times are in Unix ms. */
export interface Annotation {
  time: number;
  timeEnd: number;
  isRegion: boolean;
  title: string;
  text: string;
  tags: string[];
}

/** What a panel shows at this moment. */
export interface Shown {
  /** One entry per data frame. */
  rows: Rows[];
  state: string;
  errors: string[];
  notices: string[];
  annotations: Annotation[];
  /** Where the axis begins and ends, in Unix ms, and the length between. */
  from: number;
  to: number;
  window: number;
  /** Whether the range ends at now. */
  live: boolean;
  /** Queries that the panel sends, as the dashboard has them. */
  queries: Array<{ refId: string; from?: { uid: string } }>;
  /** The time by the clock of the browser. */
  now: number;
}

/**
 * Reads what a panel draws from Grafana's own state: the scene that Grafana puts on `window`, or in Explore the
 * properties of React's components around the graph.
 */
export async function shownBy(panel: Panel): Promise<Shown | undefined> {
  return panel.page.evaluate((id) => {
    interface SceneObject {
      state: { key?: string; $data?: SceneObject; data?: PanelData };
      forEachChild: (visit: (child: SceneObject) => void) => void;
    }
    const find = (object?: SceneObject): SceneObject | undefined => {
      if (!object || object.state.key === `panel-${id}`) {
        return object;
      }
      let found: SceneObject | undefined;
      object.forEachChild((child) => {
        found ??= find(child);
      });
      return found;
    };
    interface Fiber {
      return?: Fiber;
      memoizedProps?: { data?: PanelData; queryResponse?: PanelData };
    }
    const explored = (): PanelData | undefined => {
      const graph = document.querySelector('.uplot')?.parentElement;
      const key = Object.keys(graph ?? {}).find((name) => name.startsWith('__reactFiber'));
      let drawn: PanelData | undefined;
      for (
        let fiber = (graph as unknown as Record<string, Fiber> | undefined)?.[key ?? ''];
        fiber;
        fiber = fiber.return!
      ) {
        const { data, queryResponse } = fiber.memoizedProps ?? {};
        drawn ??= data?.series && data;
        if (drawn && queryResponse) {
          return { ...queryResponse, series: drawn.series }; // Explore keeps the request apart
        }
      }
      return undefined;
    };
    const scene = (window as { __grafanaSceneContext?: SceneObject }).__grafanaSceneContext;
    const data = id === 'explore' ? explored() : find(scene)?.state.$data?.state.data;
    if (!data) {
      return undefined;
    }
    const { state, series, annotations = [], errors = [], timeRange, request } = data;
    return {
      rows: series.map(({ refId = '', fields: [time, ...fields] }) => ({
        refId,
        step: time?.config.interval ?? 0,
        times: [...(time?.values ?? [])],
        series: fields.map(({ name, labels = {}, values }) => ({
          name: `${name} ${JSON.stringify(labels)}`,
          values: [...values],
        })),
      })),
      state,
      errors: errors.map(({ message = '' }) => message),
      annotations: annotations.flatMap(({ length, fields }) =>
        Array.from({ length }, (_, row) => Object.fromEntries(fields.map(({ name, values }) => [name, values[row]]))),
      ) as unknown as Annotation[],
      notices: series.flatMap(({ meta }) => (meta?.notices ?? []).map(({ text }) => text)),
      from: timeRange.from.valueOf(),
      to: timeRange.to.valueOf(),
      window: timeRange.to.valueOf() - timeRange.from.valueOf(),
      live: timeRange.raw.to === 'now',
      // A copy without functions, which cannot leave the browser.
      queries: JSON.parse(JSON.stringify(request?.targets ?? [])),
      now: Date.now(),
    };
  }, panel.id);
}

/** The panels of a dashboard that show data and are in sight. A repeated panel is there once per value. */
export async function panelsInSight(page: Page): Promise<Panel[]> {
  const ids = await page.locator('[data-viz-panel-key]').evaluateAll((elements) => {
    interface SceneObject {
      state: { key?: string; pluginId?: string };
      forEachChild: (visit: (child: SceneObject) => void) => void;
    }
    const drawn = new Set<string | undefined>();
    const visit = (object: SceneObject) => {
      const { key, pluginId } = object.state;
      if (pluginId && pluginId !== 'text') {
        drawn.add(key);
      }
      object.forEachChild(visit);
    };
    const scene = (window as { __grafanaSceneContext?: SceneObject }).__grafanaSceneContext;
    if (scene) {
      visit(scene);
    }
    return elements
      .filter((element) => element.getBoundingClientRect().top < window.innerHeight)
      .map((element) => element.getAttribute('data-viz-panel-key') ?? '')
      .filter((key) => drawn.has(key))
      .map((key) => key.replace('panel-', ''));
  });
  return ids.map((id) => new Panel(page, id));
}

/** Waits until a panel has rows, and returns them: one entry for each of its queries. */
export async function rowsOf(panel: Panel): Promise<Rows[]> {
  return (await filled(panel)).rows;
}

async function filled(panel: Panel): Promise<Shown> {
  let shown: Shown | undefined;
  await expect
    .poll(
      async () => {
        shown = await shownBy(panel);
        return shown?.errors.join() || (shown?.rows.some(({ times }) => times.length > 0) ?? false);
      },
      { message: `rows in panel ${panel.id}` },
    )
    .toBe(true);
  return shown!;
}

/** Expects that all panels within sight have rows, if the page is a dashboard. */
export async function expectDrawn(page: Page) {
  await page.waitForLoadState('networkidle');
  for (const panel of await panelsInSight(page)) {
    await rowsOf(panel);
  }
}

/**
 * Expects that a panel shows what a fresh query of the same window returns: no row missing, doubled, out of order or of
 * another value. The window goes back as far as the range does.
 */
export async function expectExact(panel: Panel) {
  const shown = await filled(panel);
  const found: string[] = [];
  for (const rows of shown.rows) {
    const { refId, step, times } = rows;
    const first = times[0]!;
    const last = times.at(-1)!;
    if (shown.live && first > shown.now - shown.window + step) {
      found.push(`${refId} begins ${first - shown.now + shown.window} ms after the range`);
    }
    const query = shown.queries.find((query) => query.refId === refId);
    const fresh = await queryAll(
      panel.page.request,
      [{ ...query, ...answeredBy(panel.page, query), intervalMs: step, maxDataPoints: times.length }],
      Math.min(first, ...times) - 1,
      Math.max(last, ...times),
    );
    found.push(...differences(rows, answered(fresh, refId)));
  }
  expect(found.slice(0, 10), `panel ${panel.id}: ${found.length} rows differ from a fresh query`).toEqual([]);
}

/** The data source that a query names under *From*, which may be a variable in the address of the page. */
function answeredBy(page: Page, query?: Shown['queries'][number]) {
  const uid = query?.from?.uid.replace(/^\$\{(\w+)\}$/, (_, name: string) => {
    return new URL(page.url()).searchParams.get(`var-${name}`) ?? '';
  });
  return uid && { datasource: { uid }, from: undefined };
}

/** Expects that the axis of a panel with the range now-1m/m begins where the range does, and that rows fill it. */
export async function expectAxis(panel: Panel) {
  const { from, to, now, rows } = await filled(panel);
  const minute = 60_000;
  // A row comes once a second and moves the axis. Just after the minute, the axis may still begin at the minute before.
  const begins = [now, now - 3000].map((at) => (Math.floor(at / minute) - 1) * minute);
  expect(begins, 'begin of the axis').toContain(from);
  expect(now - to, 'age of the end of the axis').toBeLessThan(5000);
  for (const { times, step } of rows) {
    expect(begins, 'first row').toContain(times[0]);
    expect(now - times.at(-1)!, 'age of the newest row').toBeLessThan(5 * step);
  }
}

/** Expects that rows come without being asked for, as they do from a stream. */
export async function expectLive(panel: Panel, rows = 5) {
  let queries = 0;
  const count = (request: { url(): string }) => {
    queries += request.url().includes('/api/ds/query') ? 1 : 0;
  };
  const newest = ({ rows }: Shown) => Math.max(...rows.flatMap(({ times }) => times));
  panel.page.on('request', count);
  try {
    await expect(async () => {
      queries = 0;
      const before = await filled(panel);
      const step = Math.max(...before.rows.map(({ step }) => step));
      await expect
        .poll(async () => newest(await filled(panel)) - newest(before), { message: `${rows} new rows` })
        .toBeGreaterThanOrEqual(rows * step);
      expect(queries, 'queries while rows came').toBe(0);
    }).toPass({ timeout: 120_000 });
  } finally {
    panel.page.off('request', count);
  }
}
