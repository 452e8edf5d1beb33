import { DataSourceConfigPage, test as base } from '@grafana/plugin-e2e';
import { APIRequestContext } from '@playwright/test';
import { Options, Query } from '../src/types';
import { Answer } from './rows';

/** What a dashboard of a test shows: a time series of one query. */
export interface PanelModel {
  id: number;
  title: string;
  datasource: { type: string; uid: string };
  targets: Query[];
  timeFrom?: string;
  [other: string]: unknown;
}

/** Grafana's HTTP API. What is made with it is deleted after the test. */
export class Grafana {
  private made: string[] = [];

  constructor(private readonly request: APIRequestContext) {}

  async createDataSource(settings: { name: string; url?: string; jsonData: Options }): Promise<string> {
    const name = `e2e ${settings.name} ${Date.now()}`;
    const { datasource } = await this.post('/api/datasources', { ...settings, name, type: PLUGIN, access: 'proxy' });
    this.deleteLater(datasource.uid, settings.jsonData.source === 'recorder');
    return datasource.uid;
  }

  /** Deletes a data source after the test, and what it has recorded, which would outlive it. */
  deleteLater(uid: string, recorder: boolean) {
    const path = `/api/datasources/uid/${uid}`;
    this.made.push(path);
    if (recorder) {
      this.made.push(`${path}/resources/store`);
    }
  }

  /** Saves a dashboard of the last five minutes that shows the panels one below the other. */
  async createDashboard(title: string, panels: PanelModel[], others: object = {}): Promise<string> {
    const dashboard = {
      title: `e2e ${title} ${Date.now()}`,
      schemaVersion: 42,
      ...others,
      time: { from: 'now-5m', to: 'now' },
      panels: panels.map((panel, i) => ({
        type: 'timeseries',
        gridPos: { x: 0, y: 9 * i, w: 24, h: 9 },
        ...panel,
      })),
    };
    const { uid } = await this.post('/api/dashboards/db', { dashboard });
    this.made.push(`/api/dashboards/uid/${uid}`);
    return uid;
  }

  /** Imports a dashboard of the package for a data source, as an admin does who finds it there. */
  async importDashboard(file: string, datasource: string): Promise<string> {
    const packed = await this.request.get(`/public/plugins/${PLUGIN}/${file}`);
    const dashboard = await packed.json();
    const inputs = [{ name: 'DS_CONTINUUM', type: 'datasource', pluginId: PLUGIN, value: datasource }];
    const title = `e2e ${dashboard.title} ${Date.now()}`;
    const { uid } = await this.post('/api/dashboards/import', {
      dashboard: { ...dashboard, uid: undefined, title },
      inputs,
    });
    this.made.push(`/api/dashboards/uid/${uid}`);
    return uid;
  }

  async clean() {
    // Delete in reverse order, because later things need earlier ones.
    for (const path of this.made.reverse()) {
      await this.request.delete(path);
    }
  }

  private post(path: string, data: object) {
    return post(this.request, path, data);
  }
}

/** Queries over the HTTP API of Grafana, as any client but a dashboard does. Times are Unix ms. */
export const queryAll = (request: APIRequestContext, queries: object[], from: number, to: number): Promise<Answer> =>
  post(request, '/api/ds/query', { queries, from: `${from}`, to: `${to}` });

export const PLUGIN = 'continuum-live-datasource';

async function post(request: APIRequestContext, path: string, data: object) {
  const response = await request.post(path, { data });
  if (!response.ok()) {
    throw new Error(`${path}: ${response.status()} ${await response.text()}`);
  }
  return response.json();
}

interface Fixtures {
  grafana: Grafana;
  /** What @grafana/plugin-e2e needs to know of the Grafana. */
  bootData: { version: string; namespace: string };
}

/**
 * Tests in a browser, with Grafana's API at hand. Loading Grafana takes most of a test's time, so a test loads only the
 * pages that it is about.
 */
export const test = base.extend<Fixtures>({
  bootData: async ({ request }, run) => {
    const response = await request.get('/api/frontend/settings');
    const { buildInfo, namespace } = (await response.json()) as { buildInfo: { version: string }; namespace: string };
    await run({ version: buildInfo.version, namespace });
  },
  page: async ({ context }, run) => {
    await run(await context.newPage());
  },
  // Uses the session of the browser. The original fixture logs in as an admin, but a Grafana without a login has none.
  gotoDataSourceConfigPage: async ({ request, page, selectors, grafanaVersion }, run, testInfo) => {
    await run(async (uid) => {
      const settings = await (await request.get(`/api/datasources/uid/${uid}`)).json();
      const opened = new DataSourceConfigPage({ page, selectors, grafanaVersion, request, testInfo }, settings);
      await opened.goto();
      return opened;
    });
  },
  grafana: async ({ request }, run) => {
    const grafana = new Grafana(request);
    await run(grafana);
    await grafana.clean();
  },
});
