import { HEADERS, createPolicy, deletePolicy, expect, ownName, regoAgainst, test } from './support';

/** Versions go on counting where a policy of the same name was deleted: each test has its own. */
let NAME = '';

test.beforeEach(async ({ request }) => {
  NAME = ownName();
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
    headers: HEADERS,
    data: { comment: 'faster', description: 'changed by somebody else' },
  });
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  const alert = page.getByRole('alert').filter({ hasText: 'Your text is kept here.' });
  await expect(alert).toContainText('Not saved: version 2 came first');
  await expect(page.getByText('version 2', { exact: true })).toBeVisible();
});

test('a draft that was overtaken is compared with what came before, and replaces it', async ({
  page,
  request,
}) => {
  await page.goto(`/policies/${NAME}?tab=editor`);
  const editor = page.getByRole('textbox', { name: `Rego of Against ${NAME}` });
  const save = page.getByRole('button', { name: 'Save', exact: true });
  await editor.press('Control+End');
  await page.keyboard.type('\n# mine');
  await expect(save).toBeEnabled();
  const theirs = await request.patch(`/api/policies/${NAME}`, {
    headers: HEADERS,
    data: { rego: `${regoAgainst(NAME)}\n# theirs\n` },
  });
  const by = ((await theirs.json()) as { policy: { updated_by: string } }).policy.updated_by;
  const refused = page.waitForResponse((answer) => answer.request().method() === 'PATCH');
  await save.click();
  expect((await refused).status()).toBe(412);
  const alert = page.getByRole('alert').filter({ hasText: 'Your text is kept here.' });
  await expect(alert).toContainText(`Not saved: version 2 came first, by ${by}`);
  await expect(alert).toContainText('Saving it again replaces that of version 2.');
  await expect(editor).toContainText('# mine');
  await alert.getByRole('button', { name: 'Compare with version 2' }).click();
  await expect(page.getByRole('textbox', { name: 'Version 2' })).toContainText('# theirs');
  await expect(page.getByRole('textbox', { name: 'Your text' })).toContainText('# mine');

  await save.click();
  await expect(page.getByText(`Against ${NAME} is saved as version 3.`)).toBeVisible();
  await expect(alert).toHaveCount(0);
  await expect(editor).toContainText('# mine');
  await expect(editor).not.toContainText('# theirs');
});

test('what is typed while a save is under way becomes the next draft', async ({ page }) => {
  let release = () => {};
  const held = new Promise<void>((done) => (release = done));
  await page.route('**/api/policies/*', async (route) => {
    if (route.request().method() === 'PATCH') await held;
    await route.continue();
  });
  await page.goto(`/policies/${NAME}?tab=editor`);
  const editor = page.getByRole('textbox', { name: `Rego of Against ${NAME}` });
  const save = page.getByRole('button', { name: 'Save', exact: true });
  await editor.press('Control+End');
  await page.keyboard.type('\n# first');
  await save.click();
  await editor.press('Control+End');
  await page.keyboard.type('\n# second');
  release();
  await expect(page.getByText(`Against ${NAME} is saved as version 2.`)).toBeVisible();
  await expect(editor).toContainText('# second');
  await save.click();
  await expect(page.getByText(`Against ${NAME} is saved as version 3.`)).toBeVisible();
  await expect(editor).toContainText('# second');
  await expect(save).toBeDisabled();
});

test('who leaves a draft is asked', async ({ page }) => {
  await page.goto('/policies');
  await page.goto(`/policies/${NAME}?tab=editor`);
  const editor = page.getByRole('textbox', { name: `Rego of Against ${NAME}` });
  await editor.press('Control+End');
  await page.keyboard.type('\n# mine');
  const dialog = page.getByRole('dialog', { name: 'Leave without saving?' });
  const away = page.getByRole('navigation').getByRole('link', { name: 'Audit' });
  // Another tab of the policy is no other page.
  await page.getByRole('tab', { name: 'Versions' }).click();
  await expect(page.getByRole('cell', { name: /newest$/ })).toBeVisible();
  await away.click();
  await dialog.getByRole('button', { name: 'Stay' }).click();
  await expect(dialog).toBeHidden();
  await page.getByRole('tab', { name: /Editor/ }).click();
  await expect(editor).toContainText('# mine');
  await away.click();
  await dialog.getByRole('button', { name: 'Leave' }).click();
  await expect(page).toHaveURL(/\/audit$/);
  await expect(page.getByRole('heading', { level: 1, name: 'Audit' })).toBeVisible();
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

test('what somebody changed since is not undone along with it', async ({ page, request }) => {
  await page.goto(`/policies/${NAME}?tab=editor`);
  await page.getByRole('textbox', { name: `Rego of Against ${NAME}` }).press('Control+End');
  await page.keyboard.type('\n# tuned');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  const said = page.getByRole('alert');
  const saved = said.filter({ hasText: `Against ${NAME} is saved as version 2.` });
  await expect(saved).toBeVisible();
  await request.patch(`/api/policies/${NAME}`, {
    headers: HEADERS,
    data: { description: 'changed by somebody else' },
  });
  await saved.getByRole('button', { name: 'Undo' }).click();
  const refused = said.filter({ hasText: 'The change was not undone' });
  await expect(refused).toContainText('Version 3 was made after it');
  await expect(refused).not.toContainText('try again');
  const now = (await (await request.get(`/api/policies/${NAME}`)).json()) as object;
  expect(now).toMatchObject({ version: 3, description: 'changed by somebody else' });
  // The page shows what stands by now.
  await expect(page.getByText('version 3', { exact: true })).toBeVisible();
});
