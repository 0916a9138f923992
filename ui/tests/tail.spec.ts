import { burst } from './nats';
import { expect, needed, test } from './support';

/** More than one reader is shown in a second, several times over. */
const MANY = 2000;

test('who misses live decisions is told how many', async ({ page }) => {
  await page.goto('/audit?agent=too-fast&range=15m');
  await page.getByRole('button', { name: 'Live tail' }).click();
  const count = page.getByTestId('row-count');
  const checks = Array.from({ length: MANY }, (_, number) => ({
    action: 'file_read',
    resource: { path: `notes/${number}.md` },
    context: { agent: 'too-fast', session_id: 'too-fast' },
  }));
  await expect(async () => {
    await burst(needed('SLUICEGATE_NATS_URL'), 'policy.check', checks);
    await expect(count).toHaveText(
      /[1-9][\d,]* decisions.* · [1-9][\d,]* live ones were too fast and are left out until you refresh/,
      { timeout: 5000 },
    );
  }).toPass({ timeout: 40_000 });

  // Nothing of them is lost: asked anew, the list has them as soon as they are stored.
  await page.getByRole('button', { name: 'Live tail' }).click();
  await expect(count).not.toContainText('too fast');
  await expect(async () => {
    await page.getByRole('button', { name: 'Refresh' }).click();
    await expect(count).toHaveText(/^[5-9]\d\d|^[1-9],\d{3}/, { timeout: 2000 });
  }).toPass({ timeout: 30_000 });
});
