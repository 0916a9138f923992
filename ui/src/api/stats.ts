import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';

import type { TimeRange } from '../lib/range';
import { resolve } from '../lib/range';
import { apiPath, request } from './client';
import type { Fleet } from './fleet.types';
import type { Overview } from './types';
import type { Enforcement, EnforcementMode } from './types';

export function useOverview(range: TimeRange, refresh: number | false) {
  return useQuery({
    queryKey: ['overview', range],
    // A range such as "last hour" moves along: its ends are set anew for each request.
    queryFn: ({ signal }) =>
      request<Overview>(apiPath('/stats/overview', { ...resolve(range) }), { signal }),
    refetchInterval: refresh,
    placeholderData: keepPreviousData,
  });
}

export function useFleet(refresh: number | false) {
  return useQuery({
    queryKey: ['fleet'],
    queryFn: ({ signal }) => request<Fleet>(apiPath('/stats/fleet'), { signal }),
    refetchInterval: refresh,
  });
}

const ENFORCEMENT = ['enforcement'];

export function useEnforcement() {
  return useQuery({
    queryKey: ENFORCEMENT,
    queryFn: ({ signal }) =>
      request<{ enforcement: Enforcement }>(apiPath('/enforcement'), { signal }),
    select: (reply) => reply.enforcement,
    refetchInterval: 10_000,
  });
}

export function useSetEnforcement() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: { mode: EnforcementMode; comment: string }) =>
      request<{ enforcement: Enforcement; changed: boolean }>(apiPath('/enforcement'), {
        method: 'PUT',
        body,
      }),
    onSettled: async () => {
      await client.invalidateQueries({ queryKey: ENFORCEMENT });
      await client.invalidateQueries({ queryKey: ['policies'] });
    },
  });
}
