import { defineConfig } from '@playwright/test';

/**
 * The tests look at a running server with a demo fleet:
 *
 *   SLUICEGATE_URL           where its console is (needed)
 *   SLUICEGATE_NATS_URL      its NATS, for the test that asks as an agent would (needed)
 *   SLUICEGATE_SIGNIN_URL    a console with tokens, and SLUICEGATE_CHECKER_TOKEN,
 *                            SLUICEGATE_VIEWER_TOKEN, SLUICEGATE_AUTHOR_TOKEN and
 *                            SLUICEGATE_ADMIN_TOKEN (needed)
 *   SLUICEGATE_ANONYMOUS_URL one with these tokens and `http.anonymous` viewer (needed)
 *   SLUICEGATE_LIMITED_URL   one with these tokens and a low `http.rate_limit` (needed)
 *   SLUICEGATE_WITHOUT_HISTORY_URL  a console whose ClickHouse is dead (needed)
 *   SLUICEGATE_CHROMIUM      the browser, /usr/bin/chromium without it
 */
export default defineConfig({
  testDir: 'tests',
  // Policies are changed for everyone: one test at a time.
  workers: 1,
  fullyParallel: false,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: process.env.CI ? [['line']] : [['list']],
  use: {
    baseURL: process.env.SLUICEGATE_URL,
    viewport: { width: 1440, height: 900 },
    locale: 'en-GB',
    timezoneId: 'Europe/Berlin',
    reducedMotion: 'reduce',
    trace: 'retain-on-failure',
    launchOptions: {
      executablePath: process.env.SLUICEGATE_CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
    },
  },
});
