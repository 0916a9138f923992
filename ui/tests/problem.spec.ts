import { putRecord, record } from './nats';
import {
  TABS,
  createPolicy,
  deletePolicy,
  expect,
  failures,
  needed,
  ownName,
  regoAgainst,
  test,
} from './support';

const NATS = needed('SLUICEGATE_NATS_URL');
let name = '';

test.beforeEach(async ({ request }) => {
  name = ownName();
  await createPolicy(request, name, { rego: regoAgainst(name), status: 'active' });
});
test.afterEach(({ request }) => deletePolicy(request, name));

test('a policy that was broken by hand says so, and can be set right', async ({ page }) => {
  const stored = await record(NATS, name);
  // What admission would never let in: somebody wrote into the bucket.
  const broken = `package test.${name.replaceAll('-', '_')}\nallow := if\n`;
  await putRecord(NATS, name, { ...stored, version: 2, rego: broken });

  await page.goto(`/policies?text=${name}`);
  const problem = "version 2 can't be taken up; version 1 stays in force";
  await expect(async () => {
    await page.reload();
    await expect(page.getByRole('article').getByRole('alert')).toHaveText(problem, {
      timeout: 2000,
    });
  }).toPass({ timeout: 20_000 });

  await page.goto(`/policies/${name}`);
  const alert = page.getByRole('alert').filter({ hasText: problem });
  await expect(alert).toBeVisible();
  // They are about the text that stays in force.
  const contents = [
    ['Editor', page.getByTestId('verdict').getByText('Valid', { exact: true })],
    ['Test bench', TABS.bench(page)],
    ['Suite', page.getByText('No suite is about this policy')],
    ['Versions', page.getByRole('button', { name: 'Roll back to version 1' })],
  ] as const;
  for (const [tab, content] of contents) {
    await page.getByRole('tab', { name: tab }).click();
    await expect(content).toBeVisible();
    await expect(page.getByRole('status', { name: /^Loading/ })).toHaveCount(0);
    await expect(failures(page).filter({ hasNotText: problem })).toHaveCount(0);
  }

  await page.getByRole('button', { name: 'Roll back to version 1' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Roll back' }).click();
  await expect(page.getByText(`Against ${name} is as it was in version 1.`)).toBeVisible();
  await page.getByRole('tab', { name: 'Overview' }).click();
  await expect(page.getByRole('region', { name: 'Facts' })).toBeVisible();
  await expect(alert).toHaveCount(0);
});
