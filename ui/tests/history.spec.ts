import { createPolicy, deletePolicy, expect, needed, regoAgainst, test } from './support';

test.use({ baseURL: needed('SLUICEGATE_WITHOUT_HISTORY_URL') });

const NAME = 'console-test-history';

test('without history, the pages say so and the rest is shown', async ({ page }) => {
  await page.goto('/audit');
  await expect(page.getByRole('alert')).toContainText("The audit list can't be shown now");
  await page.goto('/');
  await expect(page.getByRole('alert').first()).toContainText("History can't be shown now");
  await expect(page.getByRole('region', { name: 'Workers and pipeline' })).toContainText('Healthy');
  await page.goto('/violations');
  await expect(page.getByRole('alert')).toContainText("Violations can't be shown now");
  await page.goto('/fleet');
  await expect(
    page.getByRole('alert').filter({ hasText: 'History does not answer' }),
  ).toBeVisible();
});

test('without history, policies are still managed', async ({ page, request }) => {
  await createPolicy(request, NAME, { rego: regoAgainst(NAME) });
  await page.goto(`/policies?text=${NAME}`);
  await expect(page.getByText('denials are not counted')).toBeVisible();
  await page.getByRole('switch', { name: `Enable Against ${NAME}` }).click({ force: true });
  const dialog = page.getByRole('dialog', { name: `Enable Against ${NAME}` });
  await expect(dialog.getByRole('alert')).toContainText("The impact can't be shown now");
  await dialog.getByRole('button', { name: 'Enable' }).click();
  await expect(page.getByText(`Against ${NAME} is enabled.`)).toBeVisible();
  await deletePolicy(request, NAME);
});
