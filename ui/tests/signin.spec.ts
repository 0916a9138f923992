import { expect, needed, signIn, test } from './support';

const signinUrl = needed('SLUICEGATE_SIGNIN_URL');

test.use({ baseURL: signinUrl });

test('a token that is not known is refused', async ({ page }) => {
  await signIn(page, 'not-a-token');
  await expect(page.getByText('This token is not known here.')).toBeVisible();
});

test('too many tries: nothing is made up where the server does not say how long', async ({
  page,
}) => {
  await page.route('**/api/session', (route) =>
    route.request().method() === 'POST'
      ? route.fulfill({ status: 429, json: { title: 'Too Many Requests', detail: 'too many' } })
      : route.continue(),
  );
  await signIn(page, 'not-a-token');
  await expect(
    page.getByText('Too many tries from your address. Try again later.', { exact: true }),
  ).toBeVisible();
});

test('a viewer sees everything, and why nothing can be changed', async ({ page }) => {
  await signIn(page, needed('SLUICEGATE_VIEWER_TOKEN'), '/policies?status=inactive');
  await expect(page).toHaveURL(/\/policies\?status=inactive$/);
  const toggle = page.getByRole('switch', { name: 'Enable Cost control' });
  await expect(toggle).toBeDisabled();
  await expect(
    page.getByLabel(/This needs the role author; you are signed in as viewer/).first(),
  ).toBeVisible();
  await page.goto('/policies/cost_control?tab=editor');
  await expect(page.getByRole('textbox', { name: /Rego of/ })).toHaveAttribute(
    'aria-readonly',
    'true',
  );
  await expect(page.getByRole('button', { name: 'Save', exact: true })).toBeDisabled();
  const refused = await page.request.patch(`${signinUrl}/api/policies/cost_control`, {
    headers: { 'X-Sluicegate-Console': '1' },
    data: { status: 'active' },
  });
  expect(refused.status()).toBe(403);
});

test('an author changes policies, not enforcement', async ({ page }) => {
  await signIn(page, needed('SLUICEGATE_AUTHOR_TOKEN'));
  await page.getByRole('switch', { name: 'Enable Cost control' }).click({ force: true });
  const dialog = page.getByRole('dialog', { name: 'Enable Cost control' });
  await dialog.getByRole('button', { name: 'Run as draft' }).click();
  await expect(page.getByText('Cost control runs in shadow.')).toBeVisible();
  await page.getByRole('button', { name: 'Undo' }).click();
  await expect(page.getByText(/^Undone/)).toBeVisible();
  await page.getByRole('button', { name: /Enforcement is/ }).click();
  await expect(
    page.getByText('This needs the role admin; you are signed in as author.'),
  ).toBeVisible();
});

test('an admin switches enforcement, signs out, and is out', async ({ page }) => {
  await signIn(page, needed('SLUICEGATE_ADMIN_TOKEN'), '/');
  await page.getByRole('button', { name: /Enforcement is on/ }).click();
  await page.getByRole('menuitem', { name: /^shadow/ }).click();
  await page.getByRole('dialog').getByLabel('Why').fill('a test');
  await page.getByRole('button', { name: 'Set to shadow' }).click();
  await expect(page.getByRole('button', { name: /Enforcement is shadow/ })).toBeVisible();
  await page.getByRole('button', { name: 'Undo' }).click();
  await expect(page.getByRole('button', { name: /Enforcement is on/ })).toBeVisible();
  await page.getByRole('button', { name: /^Account/ }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
  await expect(page).toHaveURL(/\/signin$/);
  await page.goto('/policies');
  await expect(page).toHaveURL(/\/signin$/);
});

test('a link of another site does not send people elsewhere after sign-in', async ({ page }) => {
  await page.goto('/signin?from=//example.org');
  await page.getByLabel('Access token', { exact: true }).fill(needed('SLUICEGATE_VIEWER_TOKEN'));
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Overview' })).toBeVisible();
});
