import { expect, test } from '@playwright/test';
import path from 'path';

export const LOGIN_FILE = path.join(__dirname, '../build/login.json');

/** For a Grafana that is not open to everyone, as the one of `go tool mage run` is. */
test('log in', async ({ request }) => {
  const { GRAFANA_ADMIN_USER: user, GRAFANA_ADMIN_PASSWORD: password } = process.env;
  const response = await request.post('/login', { data: { user, password } });
  expect(response.ok(), `log in as GRAFANA_ADMIN_USER with GRAFANA_ADMIN_PASSWORD: ${await response.text()}`).toBe(
    true,
  );
  await request.storageState({ path: LOGIN_FILE });
});
