import AxeBuilder from '@axe-core/playwright';

import { expect, test } from './support';

const PAGES = [
  ['Overview', '/'],
  ['Policies', '/policies'],
  ['Cost control', '/policies/cost_control'],
  ['Cost control', '/policies/cost_control?tab=editor'],
  ['Cost control', '/policies/cost_control?tab=bench'],
  ['Cost control', '/policies/cost_control?tab=suite'],
  ['Cost control', '/policies/cost_control?tab=versions'],
  ['Audit', '/audit'],
  ['Violations', '/violations'],
  ['Fleet', '/fleet'],
] as const;

for (const colorScheme of ['light', 'dark'] as const) {
  for (const width of [1440, 390]) {
    test.describe(`${colorScheme}, ${width} px`, () => {
      test.use({ colorScheme, viewport: { width, height: 900 } });
      for (const [heading, url] of PAGES) {
        test(`${url} has nothing that keeps people out`, async ({ page }) => {
          await page.goto(url);
          await expect(page.getByRole('heading', { level: 1, name: heading })).toBeVisible();
          await expect(page.getByRole('status', { name: /^Loading/ })).toHaveCount(0);
          const { violations } = await new AxeBuilder({ page }).analyze();
          const serious = violations.filter(
            ({ impact }) => impact === 'serious' || impact === 'critical',
          );
          expect(
            serious.map(({ id, nodes }) => [
              id,
              nodes.map(({ html, failureSummary }) => html + failureSummary),
            ]),
          ).toEqual([]);
          const wider = await page.evaluate(
            () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
          );
          expect(wider, 'nothing is wider than the screen').toBeLessThanOrEqual(0);
        });
      }
    });
  }
}
