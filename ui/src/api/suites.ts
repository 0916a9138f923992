import { keepPreviousData, useMutation, useQuery } from '@tanstack/react-query';

import { request } from './client';
import { policyPath } from './policies';
import type { Finding, FiredRule, InputRead, Json } from './types';

export type Outcome = 'passed' | 'failed' | 'skipped';

/** An expectation that was not met. */
export interface Difference {
  field: 'decision' | 'deny_reasons' | 'warnings' | 'error';
  expected: Json;
  got: Json;
}

export interface SuiteCase {
  name: string;
  description?: string;
  line: number;
  outcome: Outcome;
  differences?: Difference[];
  message?: string | null;
  /** What the policy said; `test_` rules and skipped cases have none. */
  got?: {
    decision: 'allow' | 'deny';
    deny_reasons: string[];
    warnings: string[];
    error?: string | null;
  } | null;
  rules?: FiredRule[];
  reads?: InputRead[];
  duration_us: number;
}

export interface Suite {
  file: string;
  policy: string;
  cases: SuiteCase[];
  duration_ms: number;
}

/** A suite that could not be run. */
export interface SuiteProblem {
  file: string;
  line?: number | null;
  column?: number | null;
  message: string;
}

export interface SuitesReport {
  passed: number;
  failed: number;
  skipped: number;
  duration_ms: number;
  suites: Suite[];
  invalid: SuiteProblem[];
  /** Why nothing was run: the policy's own text can't be compiled. */
  findings: Finding[];
  looked: string[];
}

interface SuitesRequest {
  rego?: string;
  suite?: string;
}

const run = (id: string, body: SuitesRequest, signal?: AbortSignal) =>
  request<SuitesReport>(policyPath(id, '/suite'), {
    method: 'POST',
    body,
    ...(signal ? { signal } : {}),
  });

/** All suites about a policy, run on its newest version or on a text that isn't saved. */
export function useSuites(id: string, version: number, rego: string | null) {
  return useQuery({
    queryKey: ['suites', id, version, rego],
    // Files of suites change without notice, and a run takes milliseconds.
    staleTime: 0,
    refetchOnWindowFocus: false,
    retry: false,
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) => run(id, rego === null ? {} : { rego }, signal),
  });
}

/** Cases that somebody typed; nothing of them is kept. */
export function useTypedSuite(id: string) {
  return useMutation({ mutationFn: (body: SuitesRequest) => run(id, body) });
}
