import { defineConfig } from '@playwright/test';
import { existsSync } from 'fs';
import path from 'path';

// `go tool mage e2e` and `go tool mage screenshots` set both.
const { GRAFANA_URL, CHROMIUM, GRAFANA_ADMIN_USER } = process.env;
if (!GRAFANA_URL) {
  throw new Error('Set GRAFANA_URL to the address of a Grafana that has the plugin, or run: go tool mage e2e');
}
if (!CHROMIUM || !existsSync(CHROMIUM)) {
  throw new Error('Set CHROMIUM to the path of a Chromium or Chrome, or run: go tool mage e2e');
}

const login = GRAFANA_ADMIN_USER ? ['login'] : [];
const session = path.join(__dirname, '../build/login.json');

export default defineConfig({
  outputDir: path.join(__dirname, '../build/e2e'),
  // Long timeouts, because rows come in real time and other programs may use the processors.
  timeout: 180_000,
  expect: { timeout: 60_000 },
  workers: 1,
  forbidOnly: !!process.env.CI,
  reporter: 'list',
  use: {
    baseURL: GRAFANA_URL,
    actionTimeout: 30_000,
    storageState: GRAFANA_ADMIN_USER && session,
    viewport: { width: 1280, height: 900 },
    timezoneId: 'UTC',
    launchOptions: {
      executablePath: CHROMIUM,
      // The browser must talk to nothing but Grafana. As root, Chromium only starts without its sandbox.
      args: [
        '--no-sandbox',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    },
    screenshot: 'only-on-failure',
  },
  projects: [
    { name: 'login', testMatch: 'login.ts', use: { storageState: undefined }, metadata: { session } },
    { name: 'e2e', testMatch: '*.spec.ts', dependencies: login },
    { name: 'screenshots', testMatch: 'screenshots.ts', dependencies: login },
  ],
});
