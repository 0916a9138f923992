import { burst } from './nats';
import { expect, needed, test } from './support';

/** More than one reader is shown in a second, several times over. */
const MANY = 2000;

test('who misses live decisions is told how many', async ({ page }) => {
  await page.goto('/audit?agent=too-fast&range=15m');
  const tail = page.getByRole('button', { name: 'Live tail' });
  await tail.click();
  await expect(tail.locator('[data-state=live]')).toBeVisible();
  const count = page.getByTestId('row-count');
  const checks = Array.from({ length: MANY }, (_, number) => ({
    action: 'file_read',
    resource: { path: `notes/${number}.md` },
    context: { agent: 'too-fast', session_id: 'too-fast' },
  }));
  // Once: nothing that comes later may be needed to learn what was left out.
  await burst(needed('SLUICEGATE_NATS_URL'), 'policy.check', checks);
  await expect(count).toHaveText(
    /[1-9][\d,]* decisions.* · [1-9][\d,]* live ones were too fast and are left out until you refresh/,
  );

  // Nothing of them is lost: asked anew, the list has them as soon as they are stored.
  await tail.click();
  await expect(count).not.toContainText('too fast');
  await expect(async () => {
    await page.getByRole('button', { name: 'Refresh' }).click();
    await expect(count).toHaveText(/^[5-9]\d\d|^[1-9],\d{3}/, { timeout: 2000 });
  }).toPass({ timeout: 30_000 });
});

test('a tail that is refused says why, and is tried again on a click', async ({ page }) => {
  const detail = 'too many look at live events already';
  await page.route('**/api/events*', (route) =>
    route.fulfill({
      status: 429,
      contentType: 'application/problem+json',
      json: { title: 'Too Many Requests', status: 429, detail },
    }),
  );
  await page.goto('/audit');
  const tail = page.getByRole('button', { name: 'Live tail' });
  await tail.click();
  const alert = page.getByRole('alert').filter({ hasText: 'The live tail' });
  await expect(alert).toContainText(detail);
  await expect(tail.locator('[data-state=broken]')).toBeVisible();

  await page.unroute('**/api/events*');
  await alert.getByRole('button', { name: 'Try again' }).click();
  await expect(tail.locator('[data-state=live]')).toBeVisible();
  await expect(alert).toHaveCount(0);
});
