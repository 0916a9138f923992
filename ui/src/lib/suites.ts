import type { EvaluatedPolicy, Json, JsonObject, Outcome, Suite, SuiteCase } from '../api/types';
import { block, flow } from './yaml';

/** What the server calls a suite that came with the request. */
const TYPED = 'suite';

export function isTyped({ file }: { file: string }): boolean {
  return file === TYPED;
}

/** What one looks for among the cases. */
export interface CaseFilter {
  outcome: Outcome | 'all';
  text: string;
}

const ORDER: Outcome[] = ['failed', 'skipped', 'passed'];

/** The cases that fit, what failed first: it is what one runs tests for. */
export function casesOf(suite: Suite, { outcome, text }: CaseFilter): SuiteCase[] {
  const wanted = text.trim().toLowerCase();
  return suite.cases
    .filter(
      (one) =>
        (outcome === 'all' || one.outcome === outcome) &&
        (!wanted || `${one.name} ${one.description ?? ''}`.toLowerCase().includes(wanted)),
    )
    .sort((a, b) => ORDER.indexOf(a.outcome) - ORDER.indexOf(b.outcome));
}

/** Suites with failures first, otherwise as they came. */
export function failedFirst(suites: Suite[]): Suite[] {
  const failed = (suite: Suite) => suite.cases.some(({ outcome }) => outcome === 'failed');
  return [...suites].sort((a, b) => Number(failed(b)) - Number(failed(a)));
}

export function countOf(suite: Suite, outcome: Outcome): number {
  return suite.cases.filter((one) => one.outcome === outcome).length;
}

/** The input that policies saw, as the members that a case has. */
function membersOf(input: JsonObject): JsonObject {
  const members: JsonObject = {};
  for (const key of ['action', 'resource', 'context', 'usage'] as const) {
    const value = input[key];
    if (value !== undefined) members[key] = value;
  }
  // What policies call the time is the clock of the case.
  const now = input['timestamp'];
  if (typeof now === 'string') members['now'] = now.replace(/\.0+Z$/, 'Z');
  return members;
}

type Said = Pick<EvaluatedPolicy, 'decision' | 'deny_reasons' | 'warnings' | 'error'>;

/** What a policy says that restricts nothing. */
export const NOTHING_SAID: Said = { decision: 'allow', deny_reasons: [], warnings: [] };

/** An evaluation as a case of a suite: it expects what the policy says now, with these settings. */
export function caseText(input: JsonObject, result: Said, parameters: JsonObject): string {
  const members = membersOf(input);
  // Defaults of the others are filled in.
  if (Object.keys(parameters).length > 0) members['parameters'] = parameters;
  const { decision, deny_reasons, warnings } = result;
  members['expected'] = result.error ? { error: true } : { decision, deny_reasons, warnings };
  return `  - name: ${flow(caseName(input, result))}\n${block(members, '    ')}`;
}

/** A name for a case: what was asked, and what came of it. */
function caseName(input: JsonObject, result: Said): string {
  const said = result.deny_reasons[0] ?? result.warnings[0] ?? result.decision;
  return identifier([input['action'], result.decision, said === result.decision ? '' : said]);
}

function identifier(parts: (Json | undefined)[]): string {
  return parts
    .filter((part) => typeof part === 'string' && part !== '')
    .join('_')
    .replaceAll(/\W+/g, '_')
    .toLowerCase();
}

/** A suite to begin with. */
export function suiteText(policy: string, cases: string): string {
  return `# Only these cases are run, and nothing of them is kept. Copy them into a file whose name
# ends in _tests.yaml to keep them.
policy: ${flow(policy)}
tests:
${cases}
`;
}
