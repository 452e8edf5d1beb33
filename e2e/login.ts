import { expect, test } from '@playwright/test';

/** Logs in to a Grafana that asks for a login. The one of `go tool mage run` lets everyone in. */
test('log in', async ({ request }, { project }) => {
  const { GRAFANA_ADMIN_USER: user, GRAFANA_ADMIN_PASSWORD: password } = process.env;
  const response = await request.post('/login', { data: { user, password } });
  expect(response.ok(), `log in as GRAFANA_ADMIN_USER with GRAFANA_ADMIN_PASSWORD: ${await response.text()}`).toBe(
    true,
  );
  await request.storageState({ path: project.metadata.session });
});
