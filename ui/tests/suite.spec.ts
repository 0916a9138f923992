import { HEADERS, createPolicy, deletePolicy, expect, ownName, regoAgainst, test } from './support';

const SUITE = 'tests/policy_tests/cost_control_tests.yaml';

test('the shipped suite is run when one opens the tab', async ({ page }) => {
  await page.goto('/policies/cost_control?tab=suite');
  const totals = page.getByRole('region', { name: 'Totals' });
  await expect(totals).toContainText(/All \d\d cases passed/);
  const suite = page.getByRole('region', { name: SUITE });
  const cases = suite.getByRole('listitem');
  await expect(
    cases.filter({ hasText: 'A call that costs more than what remains is denied' }),
  ).toContainText('deny · Budget exceeded');
  // Some at first, then all.
  await expect(cases).toHaveCount(50);
  await suite.getByRole('button', { name: /^Show the other \d+$/ }).click();
  const all = await cases.count();
  expect(all).toBeGreaterThan(50);
  await expect(totals).toContainText(`${all} passed · 0 failed · 0 skipped · 1 suite`);

  await page.getByLabel('Search cases').fill('overdrawn');
  await expect(cases).toHaveCount(2);
  await page.getByText('Failed 0', { exact: true }).click();
  await expect(page.getByText('No case fits.')).toBeVisible();
});

test('a case that an edit breaks says what was expected, and why it came out so', async ({
  page,
}) => {
  await page.goto('/policies/cost_control?tab=editor');
  const verdict = page.getByTestId('verdict');
  await expect(verdict).toContainText('Valid');
  await page.getByRole('textbox', { name: 'Rego of Cost control' }).press('Control+End');
  await page.keyboard.type(
    '\ndeny_reasons contains "no_gpt4" if input.resource.model == "gpt-4"\n',
  );
  await expect(verdict).toContainText('Valid');
  await page.getByRole('tab', { name: 'Suite' }).click();
  const totals = page.getByRole('region', { name: 'Totals' });
  await expect(totals).toContainText(/^\d+ of \d\d cases failed/);
  const suite = page.getByRole('region', { name: SUITE });
  // What failed stands first, and is open.
  const named = suite.getByRole('listitem', { name: /: (failed|passed)$/ });
  await expect(named.first()).toHaveAccessibleName(/: failed$/);
  const first = suite.getByRole('listitem', { name: 'estimate_above_the_budget: failed' });
  const differs = first.getByRole('row', { name: /^Deny reasons/ });
  await expect(differs.getByRole('cell').nth(0)).toHaveText('budget_exceeded');
  await expect(differs.getByRole('cell').nth(1)).toHaveText('budget_exceededno_gpt4');
  await expect(first.getByRole('row', { name: /"no_gpt4"/ })).toContainText('deny_reasons');
  await expect(first.getByRole('row', { name: /input\.resource\.model/ })).toContainText('"gpt-4"');
  await expect(first).toContainText(`${SUITE}:5`);

  // The version that is stored is as good as before.
  await page.getByText(/^Version \d+$/).click();
  await expect(totals).toContainText(/All \d\d cases passed/);
  await page.getByText('Your unsaved text', { exact: true }).click();
  await expect(totals).toContainText('failed');

  // A line leads to its place in the editor.
  const rule = first.getByRole('row', { name: /"no_gpt4"/ }).getByRole('button');
  const line = (await rule.textContent()) ?? '';
  await rule.click();
  await expect(page).toHaveURL(new RegExp(`tab=editor&line=${line}$`));
  await expect(page.locator('.cm-activeLine')).toHaveText(/no_gpt4/);
});

test('typed cases are run, and a mistake in the YAML is shown with its line', async ({ page }) => {
  await page.goto('/policies/cost_control?tab=suite');
  await page.getByText('Try cases', { exact: true }).click();
  const editor = page.getByRole('textbox', { name: 'Cases as YAML' });
  await expect(editor).toContainText('llm_call_deny_budget_exceeded');
  await page.getByRole('button', { name: 'Run cases' }).click();
  const totals = page.getByRole('region', { name: 'Totals' });
  await expect(totals).toContainText('The case passed');

  await editor.press('Control+End');
  // The editor goes on at the same depth.
  await page.keyboard.type('  - name: free\naction: llm_call\nresource: llama-local\n');
  await page.keyboard.type('expected: {decision: deny, deny_reasons: [no_money], error: true}');
  await page.getByRole('button', { name: 'Run cases' }).click();
  await expect(totals).toContainText('1 of 2 cases failed');
  const failed = page.getByRole('listitem', { name: 'free: failed' });
  await expect(failed.getByRole('row', { name: /^Decision/ })).toHaveText('DecisionDenyAllow');
  await expect(failed.getByRole('row', { name: /^Deny reasons/ })).toHaveText(
    'Deny reasonsno_moneynone',
  );
  await expect(failed.getByRole('row', { name: /^Error/ })).toHaveText('Erroran errorno error');

  await page.keyboard.press('Escape');
  await editor.press('Control+End');
  await page.keyboard.type('\nexpectd: x');
  await page.getByRole('button', { name: 'Run cases' }).click();
  const last = await page.locator('.cm-lineNumbers .cm-gutterElement').last().textContent();
  await expect(page.getByRole('alert')).toContainText(
    new RegExp(`line ${last}, column \\d+: unknown field expectd`),
  );
  await expect(page.locator('.cm-lint-marker-error')).toBeVisible();
});

test('an evaluation of the bench is copied as a case, which passes', async ({ page, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.goto('/policies/time_restrictions?tab=bench');
  await page.getByText('Typed', { exact: true }).click();
  await page.getByLabel('Resource').fill('{"path": "a: b, [c].md", "no": "yes", "size": 3}');
  await page.getByRole('button', { name: 'Evaluate' }).click();
  await page.getByRole('button', { name: 'Copy as test case' }).click();
  await expect(page.getByText(/^Copied\./)).toBeVisible();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(copied).toMatch(/^ {2}- name: /);
  expect(copied).toContain('resource: {"no": "yes", path: "a: b, [c].md", size: 3}');

  await page.getByRole('tab', { name: 'Suite' }).click();
  await page.getByText('Try cases', { exact: true }).click();
  const editor = page.getByRole('textbox', { name: 'Cases as YAML' });
  await expect(editor).toContainText('policy: time_restrictions');
  await editor.press('Control+a');
  await page.evaluate(
    (text) => navigator.clipboard.writeText(text),
    `policy: time_restrictions\ntests:\n${copied}\n`,
  );
  await editor.press('Control+v');
  await expect(editor).toContainText('a: b, [c].md');
  await page.getByRole('button', { name: 'Run cases' }).click();
  await expect(page.getByRole('region', { name: 'Totals' })).toContainText('The case passed');
});

test.describe('a policy of its own', () => {
  let name = '';
  test.beforeEach(() => {
    name = ownName();
  });
  test.afterEach(({ request }) => deletePolicy(request, name));

  test('without suites says where they come from', async ({ page, request }) => {
    await createPolicy(request, name, { rego: regoAgainst(name) });
    await page.goto(`/policies/${name}?tab=suite`);
    const panel = page.getByRole('region', { name: 'Suites' });
    await expect(panel).toContainText('No suite is about this policy');
    await expect(panel).toContainText(`policy: ${name}`);
    for (const where of ['test_', '_tests.yaml', 'tests/policy_tests', 'policies.suites']) {
      await expect(panel).toContainText(where);
    }
  });

  test('shows its test_ rules, and nothing is run on a broken text', async ({ page, request }) => {
    const tests =
      '\ntest_other_files if count(deny_reasons) == 0 with input as {"resource": {"path": "x"}}\n';
    await createPolicy(request, name, { rego: regoAgainst(name) + tests });
    await page.goto(`/policies/${name}?tab=suite`);
    const rules = page.getByRole('region', { name: `${name}.rego` });
    await expect(rules.getByRole('listitem')).toHaveText(/test_other_files/);
    await expect(page.getByRole('region', { name: 'Totals' })).toContainText('The case passed');

    await page.getByRole('tab', { name: /Editor/ }).click();
    await page.getByRole('textbox', { name: /Rego of/ }).press('Control+End');
    await page.keyboard.type('\nallow if {');
    await page.getByRole('tab', { name: 'Suite' }).click();
    const broken = page.getByRole('region', { name: /Nothing was run/ });
    await expect(broken.getByRole('listitem').first()).toContainText(/line \d+/);
  });

  test('typed cases are asked after, and their outcome is that of a text', async ({
    page,
    request,
  }) => {
    await createPolicy(request, name, { rego: regoAgainst(name), status: 'active' });
    await page.goto(`/policies/${name}?tab=suite`);
    await page.getByText('Try cases', { exact: true }).click();
    const editor = page.getByRole('textbox', { name: 'Cases as YAML' });
    await expect(editor).toContainText(`policy: ${name}`);
    // Who typed nothing is not asked.
    const away = page.getByRole('navigation').getByRole('link', { name: 'Fleet' });
    await away.click();
    await expect(page).toHaveURL(/\/fleet$/);
    await page.goBack();
    await page.getByText('Try cases', { exact: true }).click();
    await editor.press('Control+End');
    await page.keyboard.type('# mine');
    await page.getByRole('button', { name: 'Run cases' }).click();
    await expect(page.getByRole('region', { name: 'Totals' })).toContainText('The case passed');
    const earlier = page.getByText('The outcome below is that of an earlier text.');
    await expect(earlier).toHaveCount(0);

    await request.patch(`/api/policies/${name}`, {
      headers: HEADERS,
      data: { rego: `${regoAgainst(name)}\n# tuned\n` },
    });
    // The page learns of it with the next thing that it asks for.
    await page.getByRole('switch', { name: /^Disable/ }).click({ force: true });
    await expect(page.getByText(/Somebody changed this in the meantime/)).toBeVisible();
    await expect(earlier).toBeVisible();

    await away.click();
    const dialog = page.getByRole('dialog', { name: 'Leave without saving?' });
    await dialog.getByRole('button', { name: 'Stay' }).click();
    await expect(dialog).toBeHidden();
    await expect(editor).toContainText('# mine');
  });
});
