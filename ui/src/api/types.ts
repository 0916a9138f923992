// The shapes of the REST API, as its OpenAPI description has them.

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
export type JsonObject = Record<string, Json>;

export type Role = 'checker' | 'viewer' | 'author' | 'admin';
export type PolicyStatus = 'active' | 'inactive' | 'draft';
export type PolicyMode = 'enforce' | 'warn';
export type ScopeKind = 'global' | 'session' | 'project' | 'user';
export type Severity = 'info' | 'warning' | 'critical';
export type EnforcementMode = 'on' | 'shadow' | 'off';

export interface Session {
  signed_in: boolean;
  name: string;
  role: Role | null;
  tokens: boolean;
  loopback: boolean;
  version: string;
}

export interface Finding {
  severity: 'error' | 'warning' | 'info';
  code: string;
  line?: number | null;
  column?: number | null;
  message: string;
  help: string;
}

export interface Policy {
  id: string;
  name: string;
  title: string;
  description: string;
  package: string;
  status: PolicyStatus;
  mode: PolicyMode;
  severity: Severity | null;
  fail_mode: 'open' | 'closed' | null;
  scope: ScopeKind;
  scope_id: string | null;
  template: string | null;
  parameters: JsonObject;
  version: number;
  created_at: string;
  updated_at: string;
  created_by: string;
  updated_by: string;
  comment: string;
  effective_severity: Severity;
  effective_fail_mode: 'open' | 'closed';
  effective_parameters: JsonObject;
  problem?: string | null;
  denials_24h?: number | null;
  would_deny_24h?: number | null;
}

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

export interface PolicyDetail extends Policy {
  content: string;
  rego?: string | null;
  parameters_schema?: JsonSchema | null;
  reasons?: Record<string, string>;
}

export interface PolicyList {
  policies: Policy[];
  next?: string | null;
  enforcement: EnforcementMode;
  history: boolean;
}

export interface PolicyChange {
  status?: PolicyStatus;
  mode?: PolicyMode;
  severity?: Severity;
  fail_mode?: 'open' | 'closed';
  scope?: ScopeKind;
  scope_id?: string;
  parameters?: JsonObject;
  rego?: string;
  description?: string;
  comment?: string;
  dry_run?: boolean;
}

export interface ChangeReply {
  status: string;
  changed: boolean;
  dry_run: boolean;
  policy: Policy;
  findings: Finding[];
  version: number;
  previous_version: number | null;
}

export interface Validation {
  valid: boolean;
  findings: Finding[];
  policy?: {
    package?: string;
    parameters_schema?: JsonSchema | null;
    reasons?: Record<string, string>;
  };
}

export interface FiredRule {
  rule: string;
  value?: Json;
  line: number;
}

export interface InputRead {
  path: string;
  value?: Json;
  lines: number[];
}

export interface RemedyChange {
  path: string;
  from?: Json;
  to?: Json;
  text: string;
}

export interface PolicyResult {
  name: string;
  package: string;
  version: number;
  scope: string;
  mode: string;
  decision: 'allow' | 'deny';
  deny_reasons: string[];
  warnings: string[];
  error?: string | null;
}

export interface EvaluatedPolicy extends PolicyResult {
  advice?: { reason: string; text: string }[];
  rules?: FiredRule[];
  reads?: InputRead[];
  lines?: { covered: number[]; coverable: number[] } | null;
  remedy?: RemedyChange[];
  parameters: JsonObject;
  duration_us: number;
}

export interface EvaluateReply {
  allowed: boolean;
  decision: 'allow' | 'deny';
  reason: string;
  deny_reasons: string[];
  warnings: string[];
  would_deny: string[];
  policies: EvaluatedPolicy[];
  error: boolean;
  error_message?: string;
  findings?: Finding[];
  input: JsonObject;
  duration_us: number;
}

export interface Impact {
  since: string;
  until: string;
  decisions: number;
  tried: number;
  would_deny: number;
  newly_denied: number;
  errors: number;
  reasons: { reason: string; count: number }[];
  agents: { agent: string; count: number }[];
  examples: {
    id: string;
    timestamp: string;
    agent: string;
    action: string;
    resource: string;
    reasons: string[];
  }[];
  complete: boolean;
  usage_known: boolean;
}

export interface DecisionRow {
  id: string;
  timestamp: string;
  decision: 'allow' | 'deny';
  action: string;
  resource: string;
  policy: string;
  reason: string;
  agent: string;
  user: string;
  session_id: string;
  run_id: string;
  step_id: string;
  project_id: string;
  policies: string[];
  deny_reasons: string[];
  warnings: string[];
  would_deny: string[];
  enforced: boolean;
  error: boolean;
  error_message: string;
  unchecked: string;
  duration_us: number;
  worker: string;
}

export interface DecisionPage {
  decisions: DecisionRow[];
  next?: string | null;
  sql: string;
}

/** A decision as it goes over the audit stream. */
export interface DecisionEvent extends Omit<DecisionRow, 'policy' | 'policies'> {
  policy_name: string;
  policy_package: string;
  policy_revision: string;
  policies: PolicyResult[];
  input?: JsonObject;
}

export interface DecisionDetail {
  decision: DecisionEvent;
  violations: Violation[];
  outcome: {
    outcome: string;
    exception_type: string;
    duration_seconds: number | null;
    cost_usd: number | null;
    timestamp: string;
  } | null;
}

export interface Explanation {
  policies: { recorded: PolicyResult; replay: EvaluatedPolicy | null; note?: string | null }[];
}

export interface Violation {
  id: string;
  decision_id: string;
  timestamp: string;
  violation_type: string;
  severity: Severity;
  policy_name: string;
  policy_version: number;
  action_taken: string;
  reasons: string[];
  action: string;
  resource: string;
  agent: string;
  user: string;
  session_id: string;
  notified: boolean;
  notification_details: Json;
  acknowledged: boolean;
  acknowledged_by: string | null;
  acknowledged_at: string | null;
  acknowledged_comment: string | null;
}

export interface ViolationPage {
  violations: Violation[];
  next?: string | null;
}

export interface Enforcement {
  mode: EnforcementMode;
  updated_by?: string;
  updated_at?: string | null;
  comment?: string;
}
