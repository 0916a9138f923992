import { createPolicy, deletePolicy, expect, regoAgainst, test } from './support';

/** Versions go on counting where a policy of the same name was deleted: each test has its own. */
let NAME = '';

test.beforeEach(async ({ request }) => {
  NAME = `console-test-${Date.now().toString(36)}`;
  await createPolicy(request, NAME, { rego: regoAgainst(NAME) });
});
test.afterEach(({ request }) => deletePolicy(request, NAME));

test('edit, break, fix, save, diff, roll back', async ({ page }) => {
  await page.goto(`/policies/${NAME}?tab=editor`);
  const editor = page.getByRole('textbox', { name: `Rego of Against ${NAME}` });
  const verdict = page.getByTestId('verdict');
  await expect(verdict).toContainText('Valid');
  await expect(page.getByRole('button', { name: 'Save', exact: true })).toBeDisabled();

  await editor.press('Control+End');
  await page.keyboard.type('\nwarnings contains "seen" if {');
  await expect(verdict).toContainText(/\d+ errors?/);
  await expect(page.locator('.cm-lint-marker-error')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Save', exact: true })).toBeDisabled();

  await page.keyboard.type(' input.action == "file_read" }');
  await expect(verdict).toContainText('Valid');

  // The bench tries what is not saved yet.
  await page.getByRole('tab', { name: 'Test bench' }).click();
  await page.getByText('Typed', { exact: true }).click();
  await page.getByLabel('Action').fill('file_read');
  await page.getByLabel('Resource').fill(`{"path": "x/${NAME}"}`);
  await page.getByRole('button', { name: 'Evaluate' }).click();
  const result = page.getByTestId('bench-result');
  await expect(result).toContainText('Deny');
  await expect(result).toContainText('Forbidden file');
  await expect(result).toContainText('Seen');
  await expect(page.locator('.sg-fired').first()).toBeAttached();

  await page.getByRole('tab', { name: /Editor/ }).click();
  await page.getByLabel('Comment').fill('warns as well');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await expect(page.getByText(`Against ${NAME} is saved as version 2.`)).toBeVisible();

  await page.getByRole('tab', { name: 'Versions' }).click();
  await expect(page.getByRole('cell', { name: 'warns as well' })).toBeVisible();
  await expect(
    page.locator('.cm-merge-b .cm-changedLine', { hasText: 'warnings contains' }),
  ).toBeVisible();

  await page.getByRole('button', { name: 'Roll back to version 1' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Roll back' }).click();
  await expect(page.getByText(`Against ${NAME} is as it was in version 1.`)).toBeVisible();
  await expect(page.getByText('version 3', { exact: true })).toBeVisible();
  await page.getByRole('tab', { name: /Editor/ }).click();
  await expect(editor).not.toContainText('warnings contains');
});

test('a draft is saved, and promoted', async ({ page }) => {
  await page.goto(`/policies/${NAME}?tab=editor`);
  await page.getByRole('textbox', { name: `Rego of Against ${NAME}` }).press('Control+End');
  await page.keyboard.type('\n# tuned');
  await page.getByRole('button', { name: 'Save as draft' }).click();
  await expect(page.getByText(`Against ${NAME} is saved as version 2.`)).toBeVisible();
  await expect(page.getByText('Draft (shadow)').first()).toBeVisible();
  await page.getByRole('tab', { name: 'Overview' }).click();
  await page.getByRole('button', { name: 'Promote' }).click();
  await expect(page.getByText(/is promoted/)).toBeVisible();
  await expect(page.getByText('Active', { exact: true }).first()).toBeVisible();
});

test('who was overtaken is told, and sees the newest version', async ({ page, request }) => {
  await page.goto(`/policies/${NAME}?tab=editor`);
  await page.getByRole('textbox', { name: `Rego of Against ${NAME}` }).press('Control+End');
  await page.keyboard.type('\n# mine');
  await expect(page.getByRole('button', { name: 'Save', exact: true })).toBeEnabled();
  await request.patch(`/api/policies/${NAME}`, {
    headers: { 'X-Sluicegate-Console': '1' },
    data: { comment: 'faster', description: 'changed by somebody else' },
  });
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await expect(page.getByText(/Somebody changed this in the meantime/)).toBeVisible();
  await expect(page.getByText('version 2', { exact: true })).toBeVisible();
});

test('what was saved is undone, and so is a rollback', async ({ page }) => {
  await page.goto(`/policies/${NAME}?tab=editor`);
  const editor = page.getByRole('textbox', { name: `Rego of Against ${NAME}` });
  await editor.press('Control+End');
  await page.keyboard.type('\n# tuned');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  const said = page.getByRole('alert');
  const saved = said.filter({ hasText: `Against ${NAME} is saved as version 2.` });
  await saved.getByRole('button', { name: 'Undo' }).click();
  await expect(said.filter({ hasText: `Undone: Against ${NAME} is as before.` })).toBeVisible();
  await expect(page.getByText('version 3', { exact: true })).toBeVisible();
  await expect(editor).not.toContainText('# tuned');

  await page.getByRole('tab', { name: 'Versions' }).click();
  await expect(page.getByRole('cell', { name: 'Undo of version 2' })).toBeVisible();
  await page.getByRole('button', { name: 'Roll back to version 2' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Roll back' }).click();
  const back = said.filter({ hasText: `Against ${NAME} is as it was in version 2.` });
  await expect(page.getByText('version 4', { exact: true })).toBeVisible();
  await back.getByRole('button', { name: 'Undo' }).click();
  await expect(page.getByRole('cell', { name: 'Undo of version 4' })).toBeVisible();
  await expect(page.getByText('version 5', { exact: true })).toBeVisible();
  await page.getByRole('tab', { name: /Editor/ }).click();
  await expect(editor).not.toContainText('# tuned');
});
