import { WIDTHS, expectOpenToAll } from './a11y';
import { expect, needed, signIn, test } from './support';

const PAGES = [
  ['Overview', '/'],
  ['Policies', '/policies'],
  ['Cost control', '/policies/cost_control'],
  ['Cost control', '/policies/cost_control?tab=editor'],
  ['Cost control', '/policies/cost_control?tab=bench'],
  ['Cost control', '/policies/cost_control?tab=suite'],
  ['demo-budgets', '/policies/demo-budgets?tab=suite'],
  ['Cost control', '/policies/cost_control?tab=versions'],
  ['Audit', '/audit'],
  ['Violations', '/violations'],
  ['Fleet', '/fleet'],
  ['No such page', '/policies/cost_control/nothing'],
] as const;

for (const width of WIDTHS) {
  test.describe(`${width} px`, () => {
    test.use({ viewport: { width, height: 900 } });
    for (const [heading, url] of PAGES) {
      test(`${url} has nothing that keeps people out`, async ({ page }) => {
        await page.goto(url);
        await expect(page.getByRole('heading', { level: 1, name: heading })).toBeVisible();
        await expect(page.getByRole('status', { name: /^Loading/ })).toHaveCount(0);
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
        for (const url of ['/policies', '/policies/cost_control?tab=suite']) {
          await page.goto(url);
          await expect(page.getByRole('link', { name: 'Sign in' })).toBeVisible();
          await expect(page.getByRole('status', { name: /^Loading/ })).toHaveCount(0);
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
