import { expect, test } from './support';

const RANGE = '/audit?since=2026-03-02T09:00:00.000Z&until=2026-03-02T11:30:00.000Z';

test('Escape closes the calendar, then the times, and leaves the range alone', async ({ page }) => {
  await page.goto(RANGE);
  const range = page.getByRole('combobox', { name: 'Time range' });
  // Those who look are in Berlin.
  await expect(range).toHaveValue(/02.*10:00 – .*02.*12:30/);
  const before = await range.inputValue();
  await range.click();
  await page.getByRole('option', { name: before }).click();
  const from = page.getByRole('button', { name: 'From' });
  await expect(from).toHaveText('2026-03-02 10:00:00');
  await from.click();
  const day = page.getByRole('button', { name: '2 March 2026', exact: true });
  await expect(day).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(day).toBeHidden();
  await expect(from).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(from).toBeHidden();
  await expect(range).toHaveValue(before);
  await expect(page).toHaveURL(/since=2026-03-02T09(:|%3A)00/);
});

test('two times are picked', async ({ page }) => {
  await page.goto(RANGE);
  const range = page.getByRole('combobox', { name: 'Time range' });
  await range.click();
  await page.getByRole('option', { name: await range.inputValue() }).click();
  await page.getByRole('button', { name: 'From' }).click();
  await page.getByRole('button', { name: '1 March 2026', exact: true }).click();
  await page.keyboard.press('Escape');
  const apply = page.getByRole('button', { name: 'Apply' });
  await apply.click();
  await expect(page).toHaveURL(/since=2026-03-01T09%3A00%3A00\.000Z&until=2026-03-02T11%3A30/);
  await expect(range).toHaveValue(/01.*10:00 – .*02.*12:30/);

  // An end before the start is refused, with the reason.
  await range.click();
  await page.getByRole('option', { name: await range.inputValue() }).click();
  await page.getByRole('button', { name: 'From' }).click();
  await page.getByRole('button', { name: '4 March 2026', exact: true }).click();
  await page.keyboard.press('Escape');
  await expect(page.getByText('Must be after the start.')).toBeVisible();
  await expect(apply).toBeDisabled();
  await page.keyboard.press('Escape');
  await expect(range).toHaveValue(/01.*10:00 – .*02.*12:30/);
});
