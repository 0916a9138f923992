import { expect, test } from './support';

const ROWS = 100_000;

/** A row as the API sends it; the list is made up, for no demo has so many. */
function row(number: number) {
  const denied = number % 7 === 0;
  return {
    id: `row-${number}`,
    timestamp: new Date(Date.UTC(2026, 0, 2) - number * 400).toISOString(),
    decision: denied ? 'deny' : 'allow',
    action: 'file_read',
    resource: `notes/${number}.md`,
    policy: 'default',
    reason: '',
    agent: `agent-${number % 9}`,
    user: 'alice',
    session_id: `s-${number % 50}`,
    run_id: '',
    step_id: '',
    project_id: '',
    policies: ['default@1'],
    deny_reasons: denied ? ['sensitive_file_access'] : [],
    warnings: [],
    would_deny: [],
    enforced: true,
    error: false,
    error_message: '',
    unchecked: '',
    duration_us: 300,
    worker: 'w',
  };
}

test('of a list of 100,000 rows only those in sight are drawn', async ({ page }) => {
  test.setTimeout(180_000);
  await page.route('**/api/policies/decisions/audit*', (route) => {
    const query = new URL(route.request().url()).searchParams;
    const from = Number(query.get('cursor') || 0);
    const to = Math.min(ROWS, from + Number(query.get('limit')));
    const decisions = Array.from({ length: to - from }, (_, index) => row(from + index));
    return route.fulfill({ json: { decisions, next: to < ROWS ? String(to) : null, sql: '' } });
  });
  await page.goto('/audit?range=7d');
  const grid = page.getByRole('grid');
  await expect(grid).toBeVisible();
  await expect(async () => {
    await grid.evaluate((element) => element.scrollTo({ top: element.scrollHeight }));
    await expect(page.getByTestId('row-count')).toHaveText('100,000 decisions', { timeout: 50 });
  }).toPass({ timeout: 150_000, intervals: [20] });

  const frames = await grid.evaluate(async (element) => {
    const times: number[] = [];
    let last = performance.now();
    for (let step = 0; step < 150; step += 1) {
      element.scrollTop = (element.scrollHeight * 0.9 * (150 - step)) / 150 + (step % 5) * 40;
      await new Promise((resolve) => requestAnimationFrame(resolve));
      const now = performance.now();
      times.push(now - last);
      last = now;
    }
    return times.sort((a, b) => a - b);
  });
  expect(await page.getByRole('row').count()).toBeLessThan(120);
  // Figures, not promises: how fast this machine is proves nothing about the pages.
  const figure = (place: number) => `${(frames[place] ?? 0).toFixed(0)} ms`;
  process.stdout.write(
    `\n100,000 rows: a frame takes ${figure(75)} at p50, ${figure(142)} at p95\n`,
  );
});

test('pages paint without what is large', async ({ page }) => {
  const loaded: string[] = [];
  page.on('request', (request) => loaded.push(request.url()));
  await page.goto('/policies');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  // Editor and charts come when a page needs them.
  expect(loaded.filter((url) => /CodeEditor|DiffView|Chart/.test(url))).toEqual([]);
  const paint = () =>
    page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1);
  await expect.poll(paint).toBeGreaterThan(0);
  process.stdout.write(`\nfirst paint after ${(await paint()).toFixed(0)} ms\n`);
});
