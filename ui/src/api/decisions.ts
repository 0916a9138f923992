import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query';

import type { Filters } from '../lib/filters';
import { ApiError, apiPath, request, type Query } from './client';
import type { DecisionDetail, DecisionPage, Explanation } from './types';

const PAGE = 500;

export function useDecisions(filters: Filters, window: { since?: string; until?: string }) {
  const query: Query = { ...filters, ...window };
  return useInfiniteQuery({
    queryKey: ['decisions', query],
    initialPageParam: '',
    queryFn: ({ pageParam, signal }) =>
      request<DecisionPage>(
        apiPath('/policies/decisions/audit', { ...query, limit: PAGE, cursor: pageParam }),
        { signal },
      ),
    getNextPageParam: (last) => last.next || undefined,
    placeholderData: keepPreviousData,
    // A refetch would read every page again, and comparing 100,000 rows costs more than showing them.
    staleTime: Infinity,
    refetchOnWindowFocus: false,
    structuralSharing: false,
  });
}

/** The newest decisions, to pick an input from. */
export function useRecentDecisions(filters: Filters, enabled: boolean) {
  return useQuery({
    queryKey: ['recent', filters],
    enabled,
    staleTime: 15_000,
    queryFn: ({ signal }) =>
      request<DecisionPage>(apiPath('/policies/decisions/audit', { ...filters, limit: 50 }), {
        signal,
      }),
  });
}

/** The sink stores in batches: what the live tail shows may take seconds to be found. */
function untilStored(failures: number, error: Error): boolean {
  return error instanceof ApiError && error.status === 404 && failures < 6;
}

export function useDecision(id: string | null) {
  return useQuery({
    queryKey: ['decision', id],
    enabled: id !== null,
    staleTime: Infinity,
    retry: untilStored,
    retryDelay: 1500,
    queryFn: ({ signal }) =>
      request<DecisionDetail>(apiPath(`/decisions/${encodeURIComponent(id ?? '')}`), { signal }),
  });
}

export function useExplanation(id: string | null) {
  return useQuery({
    queryKey: ['explain', id],
    enabled: id !== null,
    staleTime: 60_000,
    retry: untilStored,
    retryDelay: 1500,
    queryFn: ({ signal }) =>
      request<Explanation>(apiPath(`/decisions/${encodeURIComponent(id ?? '')}/explain`), {
        signal,
      }),
  });
}

export function exportPath(query: Query, format: 'csv' | 'jsonl' | 'parquet'): string {
  return apiPath('/decisions/export', { ...query, format });
}
