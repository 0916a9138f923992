import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';

import { apiPath, request } from './client';
import type {
  ChangeReply,
  EvaluateReply,
  Impact,
  ImpactRequest,
  JsonObject,
  Policy,
  PolicyChange,
  PolicyDetail,
  PolicyList,
  TestRequest,
  Validation,
  VersionList,
} from './types';

export const policyPath = (policy: string, rest = '') =>
  apiPath(`/policies/${encodeURIComponent(policy)}${rest}`);

/** All policies; the server pages, the console shows them on one page. */
async function all(signal: AbortSignal): Promise<PolicyList> {
  const first = await request<PolicyList>(apiPath('/policies', { limit: 200 }), { signal });
  const policies = [...first.policies];
  let cursor = first.next;
  while (cursor) {
    const page = await request<PolicyList>(apiPath('/policies', { limit: 200, cursor }), {
      signal,
    });
    policies.push(...page.policies);
    cursor = page.next;
  }
  return { ...first, policies };
}

export function usePolicies(refresh: number | false = 30_000) {
  return useQuery({
    queryKey: ['policies'],
    queryFn: ({ signal }) => all(signal),
    refetchInterval: refresh,
  });
}

export function usePolicy(id: string) {
  return useQuery({
    queryKey: ['policy', id],
    queryFn: ({ signal }) => request<PolicyDetail>(policyPath(id), { signal }),
  });
}

export function useVersions(id: string) {
  return useQuery({
    queryKey: ['policy', id, 'versions'],
    queryFn: ({ signal }) =>
      request<VersionList>(policyPath(id, '/versions'), {
        signal,
      }),
  });
}

export function useVersion(id: string, version: number | null) {
  return useQuery({
    queryKey: ['policy', id, 'version', version],
    enabled: version !== null,
    // A version never changes.
    staleTime: Infinity,
    queryFn: ({ signal }) =>
      request<PolicyDetail>(policyPath(id, `/versions/${version}`), { signal }),
  });
}

function useRefreshPolicies() {
  const client = useQueryClient();
  return async () => {
    await Promise.all(
      [['policies'], ['policy'], ['enforcement'], ['fleet']].map((queryKey) =>
        client.invalidateQueries({ queryKey }),
      ),
    );
  };
}

export function useChangePolicy(id: string) {
  const refresh = useRefreshPolicies();
  return useMutation({
    mutationFn: ({ change, version }: { change: PolicyChange; version: number }) =>
      request<ChangeReply>(policyPath(id), { method: 'PATCH', body: change, ifMatch: version }),
    onSettled: refresh,
  });
}

export function useCreatePolicy() {
  const refresh = useRefreshPolicies();
  return useMutation({
    mutationFn: (policy: { name: string; rego?: string; template?: string }) =>
      request<ChangeReply>(apiPath('/policies'), {
        method: 'POST',
        body: { ...policy, status: 'inactive', comment: 'Created in the console' },
      }),
    onSuccess: refresh,
  });
}

interface Rollback {
  id: string;
  /** The version that is left: what somebody else made after it is not taken back with it. */
  newest: number;
  /** The version to go back to. */
  version: number;
  comment: string;
}

export function useRollback() {
  const refresh = useRefreshPolicies();
  return useMutation({
    mutationFn: ({ id, newest, version, comment }: Rollback) =>
      request<ChangeReply>(policyPath(id, '/rollback'), {
        method: 'POST',
        body: { version, comment },
        ifMatch: newest,
      }),
    onSettled: refresh,
  });
}

export function useValidation(name: string, rego: string | null) {
  return useQuery({
    queryKey: ['validate', name, rego],
    enabled: rego !== null,
    staleTime: Infinity,
    gcTime: 30_000,
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) =>
      request<Validation>(apiPath('/policies/validate'), {
        method: 'POST',
        body: { rego, name },
        signal,
      }),
  });
}

/** What a policy says of a check now; asked when one begins to write cases. */
export function useExample(
  { id, version }: Pick<Policy, 'id' | 'version'>,
  check: { action: string; resource: unknown; context: JsonObject },
  enabled: boolean,
) {
  return useQuery({
    queryKey: ['example', id, version],
    enabled,
    staleTime: Infinity,
    queryFn: ({ signal }) =>
      request<EvaluateReply>(policyPath(id, '/test'), {
        method: 'POST',
        body: { ...check, now: `${new Date().toISOString().slice(0, 19)}Z` },
        signal,
      }),
  });
}

export function useTest(id: string) {
  return useMutation({
    mutationFn: (body: TestRequest) =>
      request<EvaluateReply>(policyPath(id, '/test'), { method: 'POST', body }),
  });
}

/** What a policy would have done; asked again whenever the request changes. */
export function useImpact(id: string, body: ImpactRequest | null) {
  return useQuery({
    queryKey: ['impact', id, body],
    enabled: body !== null,
    staleTime: 60_000,
    retry: false,
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) =>
      request<Impact>(policyPath(id, '/impact'), { method: 'POST', body, signal }),
  });
}
