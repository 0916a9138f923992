// The shapes of the REST API. They come from the server's own description of it, in openapi.ts;
// what stands here are their names in these pages, and what the description leaves open.
import type { components } from './openapi';

type Schemas = components['schemas'];
/** A shape of which the server says more than its description. */
type Narrow<Shape, More> = Omit<Shape, keyof More> & More;

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
export type JsonObject = Record<string, Json>;

export type Role = 'checker' | 'viewer' | 'author' | 'admin';
export type PolicyStatus = Schemas['Status'];
export type PolicyMode = Schemas['PolicyMode'];
export type ScopeKind = Schemas['ScopeKind'];
export type Severity = Schemas['Severity'];
export type EnforcementMode = Schemas['EnforcementMode'];
export type Enforcement = Schemas['EnforcementRecord'];
export type Finding = Schemas['Finding'];

export type Session = Narrow<Schemas['Session'], { role: Role | null }>;

export interface JsonSchema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: Json;
  enum?: Json[];
  const?: Json;
  format?: string;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  maxItems?: number;
  items?: JsonSchema;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: boolean | JsonSchema;
}

export type PolicyDetail = Narrow<
  Schemas['PolicyView'],
  { parameters: JsonObject; effective_parameters: JsonObject; parameters_schema: JsonSchema }
>;

/** In a list, without its Rego and what follows from that. */
export type Policy = Omit<PolicyDetail, 'content' | 'rego' | 'parameters_schema' | 'reasons'> &
  Pick<Schemas['PolicyItem'], 'denials_24h' | 'would_deny_24h'>;

/** One version, as it is stored. */
export type PolicyVersion = Schemas['PolicyRecord'];
export type VersionList = Schemas['VersionList'];

export type PolicyList = Narrow<Schemas['PolicyItems'], { policies: Policy[] }>;
export type PolicyChange = Partial<Schemas['PolicyDraft']> & { comment?: string };
export type ChangeReply = Narrow<Schemas['Changed'], { policy: Policy }>;
export type Validation = Schemas['Validated'];
export type ImpactRequest = Partial<Schemas['Proposal']>;
export type Impact = Schemas['Impact'];

export type TestRequest = Partial<Schemas['EvaluateRequest']>;
export type FiredRule = Schemas['FiredRule'];
export type InputRead = Schemas['InputRead'];
export type PolicyResult = Schemas['PolicyReply'];
export type EvaluatedPolicy = Schemas['EvaluatedPolicy'];
export type EvaluateReply = Narrow<Schemas['EvaluateReply'], { input: JsonObject }>;

export type SuitesRequest = Partial<Schemas['Suites']>;
export type SuitesReport = Schemas['SuitesReport'];
export type Suite = Schemas['SuiteReport'];
export type SuiteCase = Schemas['CaseReport'];
export type SuiteProblem = Schemas['SuiteProblem'];
export type Difference = Schemas['Difference'];
export type Outcome = Schemas['Outcome'];

export type DecisionRow = Schemas['DecisionItem'];
export type DecisionPage = Schemas['DecisionItems'];
/** A decision as it goes over the audit stream; without its input in the live tail. */
export type DecisionEvent = Narrow<Schemas['DecisionEvent'], { input?: JsonObject }>;
export type DecisionDetail = Narrow<
  Schemas['DecisionDetail'],
  { decision: DecisionEvent; violations: Violation[] }
>;
export type Explanation = Schemas['Explanation'];

export type Violation = Narrow<Schemas['ViolationItem'], { severity: Severity }>;
export type ViolationPage = Narrow<Schemas['ViolationItems'], { violations: Violation[] }>;

export type Overview = Schemas['Overview'];
export type TimelinePoint = Schemas['Moment'];
