import { expect } from '@playwright/test';
import { readdirSync, readFileSync } from 'fs';
import path from 'path';
import { test } from './grafana';
import { expectDrawn } from './panel';
import pictures from './screenshots.json';

const root = path.join(__dirname, '..');

interface Picture {
  name: string;
  /** Address below that of Grafana. */
  page: string;
  theme: string;
  width: number;
  height: number;
  /** Names of buttons that are clicked, one after the other, before the picture is taken. */
  click?: string[];
  /** Text at the top of the picture, of a page that has no panels. */
  top?: string;
}

for (const { name, page: address, theme, width, height, click = [], top } of pictures as Picture[]) {
  test(name, async ({ page }) => {
    await page.setViewportSize({ width, height });
    const url = new URL(address, 'http://grafana');
    url.searchParams.set('theme', theme);
    const response = await page.goto(url.pathname + url.search);
    expect(response?.status(), `there is a page ${address}`).toBe(200);
    for (const button of click) {
      await page.getByRole('button', { name: button }).first().click();
    }
    if (top) {
      const heading = page.getByText(top).first();
      await heading.waitFor();
      await page.waitForLoadState('networkidle'); // what is loaded above the heading moves it
      await heading.evaluate((element) => {
        element.style.scrollMarginTop = '60px'; // below Grafana's bar
        element.scrollIntoView();
      });
    } else {
      await expect(page.locator('.uplot canvas').first()).toBeVisible();
      await expectDrawn(page);
    }
    await page.screenshot({ path: path.join(root, 'docs/img', `${name}.png`), animations: 'disabled' });
  });
}

test('every picture that the docs show is in screenshots.json', () => {
  const docs = readdirSync(path.join(root, 'docs')).filter((file) => file.endsWith('.md'));
  const texts = ['README.md', ...docs.map((file) => `docs/${file}`)].map((file) =>
    readFileSync(path.join(root, file), 'utf8'),
  );
  const shown = texts.flatMap((text) => [...text.matchAll(/img\/([\w-]+)\.png/g)].map(([, name]) => name));
  expect(pictures.map(({ name }) => name)).toEqual(expect.arrayContaining(shown));
});
