import { expect, test as base, type APIRequestContext, type Page } from '@playwright/test';

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

const HEADERS = { 'X-Sluicegate-Console': '1' };

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
