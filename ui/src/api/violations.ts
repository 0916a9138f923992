import { useInfiniteQuery, useMutation } from '@tanstack/react-query';

import { resolve, type TimeRange } from '../lib/range';
import { apiPath, request, type Query } from './client';
import type { ViolationPage } from './types';

export function useViolations(query: Query, range: TimeRange, refresh: number | false) {
  return useInfiniteQuery({
    queryKey: ['violations', query, range],
    initialPageParam: '',
    queryFn: ({ pageParam, signal }) =>
      request<ViolationPage>(
        apiPath('/violations', { ...query, ...resolve(range), limit: 100, cursor: pageParam }),
        {
          signal,
        },
      ),
    getNextPageParam: (last) => last.next || undefined,
    refetchInterval: refresh,
  });
}

export function useAcknowledge() {
  return useMutation({
    mutationFn: ({ id, comment }: { id: string; comment: string }) =>
      request<{ status: string }>(apiPath(`/violations/${encodeURIComponent(id)}/acknowledge`), {
        method: 'POST',
        body: { comment },
      }),
  });
}
