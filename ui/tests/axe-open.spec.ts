import type { Page } from '@playwright/test';

import { WIDTHS, expectOpenToAll } from './a11y';
import { HEADERS, createPolicy, deletePolicy, expect, ownName, regoAgainst, test } from './support';

/** What opens on a click: where, how, and what is to be seen then. */
const OPENED: [string, string, (page: Page) => Promise<void>][] = [
  [
    'the dialog to enable',
    '/policies',
    async (page) => {
      await page.getByRole('switch', { name: 'Enable Time restrictions' }).click({ force: true });
      await expect(page.getByRole('dialog').getByRole('region', { name: /Impact/ })).toContainText(
        /denied|no recorded/,
      );
    },
  ],
  [
    'the dialog for a new policy',
    '/policies',
    async (page) => {
      await page.getByRole('button', { name: 'New policy' }).click();
      await page.getByRole('dialog').getByLabel('Name').fill('not a name');
      await expect(page.getByText('Only letters, digits, - and _.')).toBeVisible();
    },
  ],
  [
    'the switch for all policies',
    '/policies',
    async (page) => {
      await page.getByRole('button', { name: /Enforcement is/ }).click();
      await expect(page.getByRole('menuitem', { name: /^off/ })).toBeVisible();
    },
  ],
  [
    'the question before all policies are switched',
    '/policies',
    async (page) => {
      await page.getByRole('button', { name: /Enforcement is/ }).click();
      await page.getByRole('menuitem', { name: /^off/ }).click();
      await expect(page.getByRole('dialog', { name: 'Set enforcement to off?' })).toBeVisible();
    },
  ],
  [
    'the account',
    '/policies',
    async (page) => {
      await page.getByRole('button', { name: /^Account/ }).click();
      await expect(page.getByRole('dialog')).toContainText('Role: admin');
    },
  ],
  [
    'the filters',
    '/audit?agent=nobody',
    async (page) => {
      await page.getByRole('button', { name: /Filters/ }).click();
      await page.getByRole('combobox', { name: 'Action' }).click();
      await expect(page.getByRole('option', { name: 'llm_call' })).toBeVisible();
    },
  ],
  [
    'the formats of an export',
    '/audit',
    async (page) => {
      await page.getByRole('button', { name: 'Export' }).click();
      await expect(page.getByRole('menuitem', { name: 'Parquet' })).toBeVisible();
    },
  ],
  [
    'the two times of a range',
    '/audit?since=2026-03-02T09:00:00.000Z&until=2026-03-02T11:30:00.000Z',
    async (page) => {
      const range = page.getByRole('combobox', { name: 'Time range' });
      await range.click();
      await page.getByRole('option', { name: await range.inputValue() }).click();
      await page.getByRole('button', { name: 'From' }).click();
      await expect(page.getByRole('button', { name: '2 March 2026', exact: true })).toBeVisible();
    },
  ],
  [
    'a decision',
    '/audit?decision=deny&range=24h',
    async (page) => {
      await page.getByRole('row', { name: /Deny/ }).first().click();
      const drawer = page.getByRole('dialog', { name: 'Decision' });
      await expect(
        drawer.getByText('Rules that held').filter({ visible: true }).first(),
      ).toBeVisible();
    },
  ],
  [
    'the facts of a decision',
    '/audit?decision=deny&range=24h',
    async (page) => {
      await page.getByRole('row', { name: /Deny/ }).first().click();
      const drawer = page.getByRole('dialog', { name: 'Decision' });
      await drawer.getByRole('tab', { name: 'Facts' }).click();
      await expect(drawer).toContainText('Decision ID');
    },
  ],
  [
    'the question before a violation is acknowledged',
    '/violations?range=24h&acknowledged=false',
    async (page) => {
      await page.getByRole('button', { name: 'Acknowledge' }).first().click();
      await expect(page.getByRole('dialog', { name: /^Acknowledge/ })).toBeVisible();
    },
  ],
  [
    'typed cases, with what they gave',
    '/policies/cost_control?tab=suite',
    async (page) => {
      await page.getByText('Try cases', { exact: true }).click();
      const editor = page.getByRole('textbox', { name: 'Cases as YAML' });
      await expect(editor).toContainText('policy: cost_control');
      await editor.press('Control+End');
      await page.keyboard.type('  - name: free\naction: llm_call\nresource: llama-local\n');
      await page.keyboard.type('expected: {decision: deny, deny_reasons: [no_money]}');
      await page.getByRole('button', { name: 'Run cases' }).click();
      await expect(page.getByRole('listitem', { name: 'free: failed' })).toContainText('no_money');
    },
  ],
  [
    'typed cases that can not be read',
    '/policies/cost_control?tab=suite',
    async (page) => {
      await page.getByText('Try cases', { exact: true }).click();
      const editor = page.getByRole('textbox', { name: 'Cases as YAML' });
      await expect(editor).toContainText('policy: cost_control');
      await editor.press('Control+End');
      await page.keyboard.type('  - nam: free');
      await page.getByRole('button', { name: 'Run cases' }).click();
      await expect(page.getByRole('alert')).toContainText('unknown field');
    },
  ],
  [
    'the question before a draft is left',
    '/policies/cost_control?tab=editor',
    async (page) => {
      await page.getByRole('textbox', { name: 'Rego of Cost control' }).press('Control+End');
      await page.keyboard.type('# mine');
      await page.getByRole('main').getByRole('link', { name: 'Policies' }).click();
      await expect(page.getByRole('dialog', { name: 'Leave without saving?' })).toBeVisible();
    },
  ],
  [
    'a live tail that is refused',
    '/audit',
    async (page) => {
      await page.route('**/api/events*', (route) => route.fulfill({ status: 503, json: {} }));
      await page.getByRole('button', { name: 'Live tail' }).click();
      await expect(page.getByRole('alert')).toContainText("The live tail can't be shown now");
    },
  ],
  [
    'an evaluation',
    '/policies/cost_control?tab=bench',
    async (page) => {
      await page.getByText('Typed', { exact: true }).click();
      await page.getByRole('button', { name: 'Evaluate' }).click();
      await expect(page.getByTestId('bench-result')).toContainText('Rules that held');
    },
  ],
];

for (const width of WIDTHS) {
  test.describe(`${width} px`, () => {
    test.use({ viewport: { width, height: 900 } });
    for (const [name, url, open] of OPENED) {
      test(`${name}: nothing keeps people out`, async ({ page }) => {
        await page.goto(url);
        await open(page);
        await expectOpenToAll(page);
      });
    }

    test('a change that can be undone, and going back: nothing keeps people out', async ({
      page,
      request,
    }) => {
      const name = ownName();
      await createPolicy(request, name, { rego: regoAgainst(name), status: 'active' });
      await page.goto(`/policies/${name}?tab=versions`);
      await page.getByRole('switch', { name: /^Disable/ }).click({ force: true });
      await expect(page.getByRole('button', { name: 'Undo' })).toBeVisible();
      await expectOpenToAll(page);
      await page.getByRole('button', { name: 'Roll back to version 1' }).click();
      await expect(page.getByRole('dialog', { name: 'Roll back to version 1?' })).toBeVisible();
      await expectOpenToAll(page);
      await deletePolicy(request, name);
    });

    test('a draft that was overtaken, and what it differs from: nothing keeps people out', async ({
      page,
      request,
    }) => {
      const name = ownName();
      await createPolicy(request, name, { rego: regoAgainst(name) });
      await page.goto(`/policies/${name}?tab=editor`);
      await page.getByRole('textbox', { name: /^Rego of/ }).press('Control+End');
      await page.keyboard.type('# mine');
      const save = page.getByRole('button', { name: 'Save', exact: true });
      await expect(save).toBeEnabled();
      const rego = `${regoAgainst(name)}# theirs\n`;
      await request.patch(`/api/policies/${name}`, { headers: HEADERS, data: { rego } });
      await save.click();
      await page.getByRole('button', { name: 'Compare with version 2' }).click();
      await expect(page.getByText('# theirs')).toBeVisible();
      await expectOpenToAll(page);
      await deletePolicy(request, name);
    });
  });
}
