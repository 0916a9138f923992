import { PAGES, TABS, expect, expectLoaded, needed, signIn, test } from './support';

test.describe('a token that only checks', () => {
  test.use({ baseURL: needed('SLUICEGATE_SIGNIN_URL') });

  test('is told what it is for, and asks for nothing that it may not see', async ({ page }) => {
    const refused: string[] = [];
    page.on('response', (response) => {
      if (response.status() === 403) refused.push(response.url());
    });
    await signIn(page, needed('SLUICEGATE_CHECKER_TOKEN'), '/audit?decision=deny');
    await expect(
      page.getByRole('heading', { level: 1, name: 'This token asks for decisions' }),
    ).toBeVisible();
    await expect(page.getByRole('main')).toContainText('You are signed in as checker.');
    await expect(page.getByRole('main')).toContainText('POST /v1/data/');
    await expect(page.getByRole('navigation')).toHaveCount(0);
    await expect(page.getByRole('button', { name: /Enforcement/ })).toHaveCount(0);
    for (const path of ['/', '/policies/cost_control', '/fleet']) {
      await page.goto(path);
      await expect(page.getByRole('main')).toContainText('role viewer, author or admin');
    }
    expect(refused).toEqual([]);

    await page.getByRole('button', { name: 'Sign in with another token' }).click();
    await expect(page).toHaveURL(/\/signin$/);
    await signIn(page, needed('SLUICEGATE_VIEWER_TOKEN'), '/fleet');
    await expect(page.getByRole('heading', { level: 1, name: 'Fleet' })).toBeVisible();
  });
});

test.describe('a console that anybody may look at', () => {
  test.use({ baseURL: needed('SLUICEGATE_ANONYMOUS_URL') });

  test('shows its pages, and why nothing can be changed', async ({ page }) => {
    const refused: string[] = [];
    page.on('response', (response) => {
      if (response.status() >= 400) refused.push(response.url());
    });
    for (const [path, heading] of [
      ['/', 'Overview'],
      ['/audit', 'Audit'],
      ['/violations', 'Violations'],
      ['/fleet', 'Fleet'],
      ['/policies', 'Policies'],
    ] as const) {
      await page.goto(path);
      await expect(page.getByRole('heading', { level: 1, name: heading })).toBeVisible();
      await expectLoaded(page, PAGES[path](page));
    }
    await expect(page.getByRole('switch', { name: 'Enable Cost control' })).toBeDisabled();
    const reason = 'This needs the role author; without signing in you have the role viewer.';
    await expect(page.getByLabel(reason).first()).toBeVisible();
    await expect(page.getByRole('navigation')).toContainText(
      'Not signed in. Anyone who can reach this address has the role viewer.',
    );

    const told = page.getByRole('tabpanel').getByLabel(reason);
    for (const [tab, why] of [
      ['overview', told],
      ['editor', told],
      ['bench', told],
      ['suite', page.getByText(reason)],
      ['versions', null],
    ] as const) {
      await page.goto(`/policies/cost_control?tab=${tab}`);
      await expectLoaded(page, tab === 'suite' ? page.getByText(reason) : TABS[tab](page));
      if (why) await expect(why.first()).toBeVisible();
    }
    expect(refused).toEqual([]);
  });

  test('lets people sign in from where they are', async ({ page }) => {
    await page.goto('/policies?status=inactive');
    await page.getByRole('link', { name: 'Sign in' }).click();
    await page.getByLabel('Access token', { exact: true }).fill(needed('SLUICEGATE_AUTHOR_TOKEN'));
    await page.getByRole('button', { name: 'Sign in' }).click();
    await expect(page).toHaveURL(/\/policies\?status=inactive$/);
    await expect(page.getByRole('switch', { name: 'Enable Cost control' })).toBeEnabled();
    await page.getByRole('button', { name: 'Account: author' }).click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    // What everybody may see stays in sight.
    await expect(page.getByRole('link', { name: 'Sign in' })).toBeVisible();
    await expect(page.getByRole('switch', { name: 'Enable Cost control' })).toBeDisabled();
  });
});

test.describe('a console where everybody only checks', () => {
  test('says what is open to programs, and who could change that', async ({ page }) => {
    await page.route('**/api/session', async (route) => {
      const answer = await route.fetch();
      const session = { role: 'checker', signed_in: false, tokens: false };
      await route.fulfill({ response: answer, json: { ...(await answer.json()), ...session } });
    });
    await page.goto('/');
    await expect(
      page.getByRole('heading', { level: 1, name: 'This console answers programs' }),
    ).toBeVisible();
    await expect(page.getByRole('main')).toContainText('http.anonymous');
    await expect(page.getByRole('main')).not.toContainText(/this token/i);
  });
});

test.describe('a console that has enough of wrong tokens', () => {
  test.use({ baseURL: needed('SLUICEGATE_LIMITED_URL') });

  test('says when to try again', async ({ page }) => {
    await page.goto('/signin');
    await page.getByLabel('Access token', { exact: true }).fill('not-a-token');
    await expect(async () => {
      // As many at once as no person types, so that a slow browser comes too late as well.
      await Promise.all(
        Array.from({ length: 10 }, () =>
          page.request.post('/api/session', { data: { token: 'not-a-token' } }),
        ),
      );
      await page.getByRole('button', { name: 'Sign in' }).click();
      await expect(
        page.getByText(/^Too many tries from your address\. Try again in \d+ seconds?\.$/),
      ).toBeVisible({ timeout: 2000 });
    }).toPass({ timeout: 30_000 });

    // The right token is taken once the time is over.
    await page.getByLabel('Access token', { exact: true }).fill(needed('SLUICEGATE_VIEWER_TOKEN'));
    await expect(async () => {
      await page.getByRole('button', { name: 'Sign in' }).click({ timeout: 2000 });
      await expect(page).not.toHaveURL(/\/signin$/, { timeout: 2000 });
    }).toPass({ timeout: 30_000 });
  });
});
