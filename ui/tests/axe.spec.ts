import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';

import { expect, test } from './support';

const PAGES = [
  ['Overview', '/'],
  ['Policies', '/policies'],
  ['Cost control', '/policies/cost_control'],
  ['Cost control', '/policies/cost_control?tab=editor'],
  ['Cost control', '/policies/cost_control?tab=bench'],
  ['Cost control', '/policies/cost_control?tab=suite'],
  ['Cost control', '/policies/cost_control?tab=versions'],
  ['Audit', '/audit'],
  ['Violations', '/violations'],
  ['Fleet', '/fleet'],
] as const;

for (const width of [1440, 390]) {
  test.describe(`${width} px`, () => {
    test.use({ viewport: { width, height: 900 } });
    for (const [heading, url] of PAGES) {
      test(`${url} has nothing that keeps people out`, async ({ page }) => {
        await page.goto(url);
        await expect(page.getByRole('heading', { level: 1, name: heading })).toBeVisible();
        await expect(page.getByRole('status', { name: /^Loading/ })).toHaveCount(0);
        for (const colorScheme of ['light', 'dark'] as const) {
          await page.emulateMedia({ colorScheme });
          await expect(
            page.locator(`html[data-mantine-color-scheme=${colorScheme}]`),
          ).toBeVisible();
          expect(await found(page), colorScheme).toEqual([]);
        }
        const wider = await page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        );
        expect(wider, 'nothing is wider than the screen').toBeLessThanOrEqual(0);
      });
    }
  });
}

async function found(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => [id, html, failureSummary].join('\n')),
    );
}

test('dialogs have nothing that keeps people out', async ({ page }) => {
  await page.goto('/policies');
  await page.getByRole('switch', { name: 'Enable Time restrictions' }).click({ force: true });
  await expect(page.getByRole('dialog').getByRole('region', { name: /Impact/ })).toContainText(
    /denied|no recorded/,
  );
  expect(await found(page)).toEqual([]);
  await page.goto('/audit?agent=nobody');
  await page.getByRole('button', { name: /Filters/ }).click();
  await expect(page.getByRole('combobox', { name: 'Agent' })).toBeVisible();
  expect(await found(page)).toEqual([]);
  await page.goto('/audit?decision=deny');
  await page.getByRole('row', { name: /Deny/ }).first().click();
  await expect(
    page.getByRole('dialog').getByText('Rules that held').filter({ visible: true }).first(),
  ).toBeVisible();
  expect(await found(page)).toEqual([]);
});

test('the keyboard is enough to switch a policy on', async ({ page }) => {
  await page.goto('/policies');
  await expect(page.getByRole('heading', { name: 'Cost control' })).toBeVisible();
  await page.keyboard.press('Tab');
  await expect(page.getByRole('link', { name: 'Skip to content' })).toBeFocused();
  const toggle = page.getByRole('switch', { name: 'Enable Cost control' });
  await toggle.focus();
  await page.keyboard.press('Space');
  const dialog = page.getByRole('dialog', { name: 'Enable Cost control' });
  await expect(dialog).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(dialog).toBeHidden();
  await expect(toggle).toBeFocused();
});
