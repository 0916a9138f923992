import type { Page } from '@playwright/test';

import { WIDTHS, expectOpenToAll } from './a11y';
import { PAGES, TABS, expect, expectLoaded, needed, signIn, test } from './support';

const SEEN = [
  ['Overview', '/', PAGES['/']],
  ['Policies', '/policies', PAGES['/policies']],
  ['Cost control', '/policies/cost_control', TABS.overview],
  ['Cost control', '/policies/cost_control?tab=editor', TABS.editor],
  ['Cost control', '/policies/cost_control?tab=bench', TABS.bench],
  ['Cost control', '/policies/cost_control?tab=suite', TABS.suite],
  ['demo-budgets', '/policies/demo-budgets?tab=suite', TABS.suite],
  ['Cost control', '/policies/cost_control?tab=versions', TABS.versions],
  ['Audit', '/audit', PAGES['/audit']],
  ['Violations', '/violations', PAGES['/violations']],
  ['Fleet', '/fleet', PAGES['/fleet']],
  ['No such page', '/policies/cost_control/nothing', (page: Page) => page.getByRole('main')],
] as const;

// A long list takes long to look through.
test.describe.configure({ timeout: 120_000 });

for (const width of WIDTHS) {
  test.describe(`${width} px`, () => {
    test.use({ viewport: { width, height: 900 } });
    for (const [heading, url, content] of SEEN) {
      test(`${url} has nothing that keeps people out`, async ({ page }) => {
        await page.goto(url);
        await expect(page.getByRole('heading', { level: 1, name: heading })).toBeVisible();
        await expectLoaded(page, content(page));
        await expectOpenToAll(page);
      });
    }

    test.describe('with tokens', () => {
      test.use({ baseURL: needed('SLUICEGATE_SIGNIN_URL') });

      test('signing in has nothing that keeps people out', async ({ page }) => {
        await page.goto('/signin');
        await page.getByLabel('Access token', { exact: true }).fill('not-a-token');
        await expectOpenToAll(page);
        await page.getByRole('button', { name: 'Sign in' }).click();
        await expect(page.getByText('This token is not known here.')).toBeVisible();
        await expectOpenToAll(page);
      });

      test("a checker's page has nothing that keeps people out", async ({ page }) => {
        await signIn(page, needed('SLUICEGATE_CHECKER_TOKEN'), '/');
        await expect(page.getByRole('button', { name: /another token/ })).toBeVisible();
        await expectOpenToAll(page);
      });
    });

    test.describe('without a token', () => {
      test.use({ baseURL: needed('SLUICEGATE_ANONYMOUS_URL') });

      test('what can only be looked at has nothing that keeps people out', async ({ page }) => {
        const refused = page.getByText('Suites are run by authors');
        for (const [url, content] of [
          ['/policies', PAGES['/policies'](page)],
          ['/policies/cost_control?tab=suite', refused],
        ] as const) {
          await page.goto(url);
          await expect(page.getByRole('link', { name: 'Sign in' })).toBeVisible();
          await expectLoaded(page, content);
          await expectOpenToAll(page);
        }
      });
    });
  });
}

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
