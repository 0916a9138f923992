import { readFile } from 'node:fs/promises';

import { expect, test } from './support';

test('filters stand in the URL, and hold for every row', async ({ page }) => {
  await page.goto('/audit');
  await page.getByText('Denied', { exact: true }).click();
  await expect(page).toHaveURL(/decision=deny/);
  await page.getByRole('button', { name: /Filters/ }).click();
  await page.getByRole('combobox', { name: 'Action' }).fill('llm_call');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/action=llm_call/);
  const rows = page.getByRole('row', { name: /llm_call/ });
  await expect(rows.first()).toBeVisible();
  await expect(page.getByRole('row', { name: /Allow/ })).toHaveCount(0);
  await expect(page.getByRole('row', { name: /file_read/ })).toHaveCount(0);
  await page.getByRole('button', { name: 'Clear filters' }).click();
  await expect(page).not.toHaveURL(/decision=deny/);
});

test('the filtered list is exported', async ({ page }) => {
  await page.goto('/audit?decision=deny&range=1h');
  await expect(page.getByRole('row', { name: /Deny/ }).first()).toBeVisible();
  for (const [name, kind] of [
    ['CSV', 'csv'],
    ['JSON Lines', 'jsonl'],
    ['Parquet', 'parquet'],
  ] as const) {
    await page.getByRole('button', { name: 'Export' }).click();
    const loading = page.waitForEvent('download');
    await page.getByRole('menuitem', { name }).click();
    const download = await loading;
    expect(download.suggestedFilename()).toMatch(new RegExp(`\\.${kind}$`));
    const content = await readFile(await download.path());
    expect(content.byteLength).toBeGreaterThan(100);
    if (kind === 'parquet') expect(content.subarray(0, 4).toString()).toBe('PAR1');
    else expect(content.toString()).toContain('deny');
    if (kind === 'jsonl') {
      for (const line of content.toString().trim().split('\n')) {
        expect(JSON.parse(line)).toMatchObject({ decision: 'deny' });
      }
    }
  }
});

test('the list is copied as SQL', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.goto('/audit?decision=deny');
  await expect(page.getByRole('row', { name: /Deny/ }).first()).toBeVisible();
  await page.getByRole('button', { name: 'Export' }).click();
  await page.getByRole('menuitem', { name: 'Copy as SQL' }).click();
  const sql = await page.evaluate(() => navigator.clipboard.readText());
  expect(sql).toMatch(/^SELECT .*deny/s);
});

test('a decision explains itself, and is replayed in the bench', async ({ page }) => {
  await page.goto('/audit?decision=deny&range=24h');
  const grid = page.getByRole('grid');
  await expect(page.getByRole('row', { name: /Deny/ }).first()).toBeVisible();
  await grid.focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  const drawer = page.getByRole('dialog', { name: 'Decision' });
  await expect(drawer.getByText('Rules that held').filter({ visible: true }).first()).toBeVisible();
  await drawer.getByRole('tab', { name: 'Input' }).click();
  await expect(drawer.getByRole('region', { name: /Input/ })).toContainText('"action"');
  await drawer.getByRole('tab', { name: /Policies/ }).click();
  await drawer
    .getByRole('link', { name: 'Replay in the test bench' })
    .filter({ visible: true })
    .first()
    .click();
  await expect(page).toHaveURL(/tab=bench&decision=/);
  await page.getByRole('button', { name: 'Evaluate' }).click();
  await expect(page.getByTestId('bench-result')).toContainText(/Allow|Deny/);
});

test('more rows come as one scrolls', async ({ page }) => {
  test.setTimeout(120_000);
  await page.goto('/audit?range=7d');
  const grid = page.getByRole('grid');
  await expect(grid).toBeVisible();
  // A fleet that has just begun has fewer decisions than a page holds.
  const count = page.getByTestId('row-count');
  await expect(async () => {
    await page.getByRole('button', { name: 'Refresh' }).click();
    await expect(count).toHaveText(/^500 decisions so far/, { timeout: 2000 });
  }).toPass({ timeout: 90_000 });
  const before = await count.textContent();
  await grid.evaluate((element) => element.scrollTo({ top: element.scrollHeight }));
  await expect(count).not.toHaveText(before ?? '');
  const shown = await page.getByRole('row').count();
  expect(shown).toBeLessThan(120);
});

test('the overview leads into the list', async ({ page }) => {
  await page.goto('/');
  await page.getByRole('link', { name: /^Denied/ }).click();
  await expect(page).toHaveURL(/\/audit\?decision=deny&range=1h/);
  await page.goBack();
  const bar = page.locator('.recharts-bar-rectangle path').last();
  await bar.click();
  await expect(page).toHaveURL(/\/audit\?.*since=.*until=/);
});
