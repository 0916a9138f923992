import { request as nats } from './nats';
import { createPolicy, deletePolicy, expect, needed, ownName, regoAgainst, test } from './support';

const NAME = 'console-test-toggle';

test.describe('a policy is switched on and off in the page', () => {
  test.beforeEach(({ request }) => createPolicy(request, NAME, { rego: regoAgainst(NAME) }));
  test.afterEach(({ request }) => deletePolicy(request, NAME));

  const ask = () =>
    nats(needed('SLUICEGATE_NATS_URL'), 'policy.check', {
      action: 'file_read',
      resource: { path: `notes/${NAME}.md` },
      context: { agent: 'console-test', session_id: 'console-test' },
    });

  test('the next check is denied, and stands in the live tail', async ({ page, context }) => {
    expect(await ask()).toMatchObject({ allowed: true });

    const audit = await context.newPage();
    await audit.goto('/audit?agent=console-test&range=15m');
    await audit.getByRole('button', { name: 'Live tail' }).click();
    await expect(audit.getByRole('button', { name: 'Live tail', pressed: true })).toBeVisible();

    await page.goto('/policies');
    await page.getByRole('switch', { name: `Enable Against ${NAME}` }).click({ force: true });
    const dialog = page.getByRole('dialog', { name: `Enable Against ${NAME}` });
    await expect(dialog.getByRole('region', { name: /Impact/ })).toContainText(
      /denied|no recorded/,
    );
    await dialog.getByLabel('Comment').fill('tried by a test');
    await dialog.getByRole('button', { name: 'Enable' }).click();
    await expect(page.getByText(`Against ${NAME} is enabled.`)).toBeVisible();

    await expect.poll(async () => (await ask())['allowed']).toBe(false);
    const row = audit.getByRole('row', { name: new RegExp(`Deny.*${NAME}`) }).first();
    await expect(row).toBeVisible();
    await row.click();
    const drawer = audit.getByRole('dialog', { name: 'Decision' });
    await expect(drawer.getByText('This file is not to be read.').first()).toBeVisible({
      timeout: 20_000,
    });
    await audit.close();

    await page.getByRole('button', { name: 'Undo' }).click();
    await expect(page.getByText(/^Undone/)).toBeVisible();
    await expect(page.getByRole('switch', { name: `Enable Against ${NAME}` })).not.toBeChecked();
    await expect.poll(async () => (await ask())['allowed']).toBe(true);
  });

  test('enabling for one session leaves the others alone', async ({ page }) => {
    await page.goto(`/policies?text=${NAME}`);
    await page.getByRole('switch', { name: `Enable Against ${NAME}` }).click({ force: true });
    const dialog = page.getByRole('dialog', { name: `Enable Against ${NAME}` });
    await dialog.getByRole('combobox', { name: 'Applies to' }).click();
    await page.getByRole('option', { name: 'One session' }).click();
    await expect(dialog.getByRole('button', { name: 'Enable' })).toBeDisabled();
    await dialog.getByLabel('ID of the session').fill('another-session');
    await dialog.getByRole('button', { name: 'Enable' }).click();
    await expect(page.getByText(`Against ${NAME} is enabled.`)).toBeVisible();
    await expect(page.getByText('session another-session')).toBeVisible();
    expect(await ask()).toMatchObject({ allowed: true });
  });
});

test('the page says that all is allowed by default', async ({ page }) => {
  await page.goto('/policies');
  await expect(
    page.getByText(
      'Default policy: ALLOW ALL. All operations are allowed by default. Enable policies below to add restrictions.',
    ),
  ).toBeVisible();
});

test('a form is made from the settings of a policy', async ({ page }) => {
  await page.goto('/policies');
  await page.getByRole('switch', { name: 'Enable Time restrictions' }).click({ force: true });
  const dialog = page.getByRole('dialog', { name: 'Enable Time restrictions' });
  await dialog.getByLabel('Start').fill('25:99');
  await expect(dialog.getByText('A time as HH:MM.')).toBeVisible();
  await expect(dialog.getByRole('button', { name: 'Enable' })).toBeDisabled();
  await dialog.getByLabel('Start').fill('08:30');
  await expect(dialog.getByRole('button', { name: 'Enable' })).toBeEnabled();
  await page.keyboard.press('Escape');
  await expect(dialog).toBeHidden();
});

test('a policy is created from an example, and is inactive', async ({ page, request }) => {
  const name = ownName();
  await page.goto('/policies');
  await page.getByRole('button', { name: 'New policy' }).click();
  const dialog = page.getByRole('dialog', { name: 'New policy' });
  await dialog.getByLabel('Name').fill('not a name');
  await expect(dialog.getByText('Only letters, digits, - and _.')).toBeVisible();
  await dialog.getByLabel('Name').fill(name);
  await dialog.getByRole('button', { name: 'Create' }).click();
  await expect(page).toHaveURL(new RegExp(`/policies/${name}\\?tab=editor$`));
  await expect(page.getByTestId('verdict')).toContainText('Valid');
  await expect(page.getByText('Inactive', { exact: true })).toBeVisible();
  await deletePolicy(request, name);
});
