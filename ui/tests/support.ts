import {
  expect,
  test as base,
  type APIRequestContext,
  type Locator,
  type Page,
} from '@playwright/test';

/** A setting that the tests can't do without. */
export function needed(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`set ${name}: playwright.config.ts says to what`);
  return value;
}

needed('SLUICEGATE_URL');

/** A page whose console must stay clean: refused styles and scripts are said there. */
export const test = base.extend<{ page: Page }>({
  page: async ({ page }, ready) => {
    const said: string[] = [];
    const outside: string[] = [];
    page.on('console', (message) => {
      if (/content security policy/i.test(message.text())) said.push(message.text());
    });
    page.on('pageerror', (error) => said.push(error.message));
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (
        url.protocol.startsWith('http') &&
        url.hostname !== '127.0.0.1' &&
        url.hostname !== 'localhost'
      ) {
        outside.push(request.url());
      }
    });
    await ready(page);
    expect(said).toEqual([]);
    expect(outside).toEqual([]);
  },
});

export { expect };

/** Goes to a page, is sent to sign in, and does. */
export async function signIn(page: Page, token: string, target = '/policies'): Promise<void> {
  await page.goto(target);
  await expect(page).toHaveURL(/\/signin$/);
  await page.getByLabel('Access token', { exact: true }).fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

/** Alerts of the page, not those about the state of the machine. */
export function failures(page: Page): Locator {
  return page.getByRole('alert').filter({ hasNotText: 'Wants a look' });
}

/** Waits for what a page has once it is loaded: before, it has nothing that fails either. */
export async function expectLoaded(page: Page, content: Locator): Promise<void> {
  await expect(content.first()).toBeVisible();
  await expect(page.getByRole('status', { name: /^Loading/ })).toHaveCount(0);
  await expect(failures(page)).toHaveCount(0);
}

/** What pages have once they are loaded, by their paths. */
export const PAGES: Record<'/' | '/audit' | '/violations' | '/fleet' | '/policies', Content> = {
  '/': (page) => page.getByRole('region', { name: 'Decisions over time' }),
  '/audit': (page) => page.getByRole('row', { name: /Allow|Deny/ }),
  '/violations': (page) =>
    page.getByRole('main').getByRole('listitem').or(page.getByText('No violations')),
  '/fleet': (page) => page.getByRole('region', { name: /^\d+ workers?$/ }),
  '/policies': (page) => page.getByRole('article'),
};

/** What the tabs of a policy have once they are loaded, for those who may change it. */
export const TABS: Record<'overview' | 'editor' | 'bench' | 'suite' | 'versions', Content> = {
  overview: (page) => page.getByRole('region', { name: 'Facts' }),
  editor: (page) => page.getByRole('textbox', { name: /^Rego of / }),
  bench: (page) => page.getByRole('button', { name: 'Evaluate' }),
  suite: (page) => page.getByRole('region', { name: 'Totals' }),
  versions: (page) => page.getByRole('cell', { name: /newest$/ }),
};

type Content = (page: Page) => Locator;

/** Sent by the console with each request, which a form of another site can't do. */
export const HEADERS = { 'X-Sluicegate-Console': '1' };

/** A name that no other test has, also where several run at once or one ran before. */
export function ownName(): string {
  return `console-test-${crypto.randomUUID()}`;
}

/** A policy of a test alone, that nothing but this test changes. */
export async function createPolicy(
  request: APIRequestContext,
  name: string,
  more: object,
): Promise<void> {
  await deletePolicy(request, name);
  const response = await request.post('/api/policies', {
    headers: HEADERS,
    data: { name, ...more },
  });
  expect(response.status(), await response.text()).toBe(201);
}

export async function deletePolicy(request: APIRequestContext, name: string): Promise<void> {
  await request.delete(`/api/policies/${name}`, { headers: HEADERS });
}

/** Rego that denies a file name, so that a test can tell its own denials from those of the demo. */
export function regoAgainst(name: string, reason = 'forbidden_file'): string {
  return `# METADATA
# title: Against ${name}
# description: Denies one file.
# custom:
#   severity: warning
#   reasons:
#     ${reason}: This file is not to be read. Read another one.
package test.${name.replaceAll('-', '_')}

import rego.v1

default allow := true

allow := false if count(deny_reasons) > 0

deny_reasons contains "${reason}" if contains(input.resource.path, "${name}")
`;
}
