import { expect, test } from './support';

test('violations are filtered, and acknowledged', async ({ page }) => {
  await page.goto('/violations?range=1h&acknowledged=false');
  await page.getByText('Critical', { exact: true }).click();
  await expect(page).toHaveURL(/severity=critical/);
  const first = page.getByRole('listitem').filter({ hasText: 'critical' }).first();
  await expect(first).toBeVisible();
  await expect(page.getByRole('listitem').filter({ hasText: 'warning' })).toHaveCount(0);

  const agent = (await first.locator('b').first().textContent()) ?? '';
  await first.getByRole('button', { name: 'Acknowledge' }).click();
  const dialog = page.getByRole('dialog', { name: 'Acknowledge this violation?' });
  await dialog.getByLabel('Comment').fill('seen by a test');
  await dialog.getByRole('button', { name: 'Acknowledge' }).click();
  await expect(page.getByText('Acknowledged. Everyone sees it once it is stored.')).toBeVisible();

  await expect(async () => {
    await page.goto('/violations?range=1h&acknowledged=true&severity=critical');
    const stored = page.getByRole('listitem').filter({ hasText: 'seen by a test' }).first();
    await expect(stored).toContainText(agent, { timeout: 3000 });
  }).toPass({ timeout: 30_000 });

  await page.getByRole('listitem').first().getByRole('link', { name: 'Decision' }).click();
  await expect(page.getByRole('dialog', { name: 'Decision' })).toContainText('Deny');
});
