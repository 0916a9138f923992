import { keepPreviousData, useMutation, useQuery } from '@tanstack/react-query';

import { request } from './client';
import { policyPath } from './policies';
import type { SuitesReport, SuitesRequest } from './types';

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

interface TypedSuite {
  suite: string;
  /** A text that isn't saved; without one the newest version is tried. */
  rego: string | null;
  /** The text that it is run on, which tells later whether the outcome is that of another one. */
  of: string;
}

/** Cases that somebody typed; nothing of them is kept. */
export function useTypedSuite(id: string) {
  return useMutation({
    mutationFn: ({ suite, rego }: TypedSuite) =>
      run(id, { suite, ...(rego === null ? {} : { rego }) }),
  });
}
