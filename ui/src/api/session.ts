import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';

import { notifyFailure } from '../lib/notify';
import { apiPath, request } from './client';
import type { Role, Session } from './types';

const KEY = ['session'];
const ORDER: Role[] = ['checker', 'viewer', 'author', 'admin'];

export function useSession() {
  return useQuery({
    queryKey: KEY,
    queryFn: () => request<Session>(apiPath('/session')),
    staleTime: 60_000,
  });
}

export function useSignIn() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (token: string) =>
      request<Session>(apiPath('/session'), { method: 'POST', body: { token } }),
    onSuccess: async (session) => {
      client.setQueryData(KEY, session);
      await client.invalidateQueries({ predicate: (query) => query.queryKey[0] !== 'session' });
    },
  });
}

export function useSignOut() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () => request<Session>(apiPath('/session'), { method: 'DELETE' }),
    onSuccess: (session) => {
      // Nothing that was read with the old rights may stay on the page.
      client.removeQueries({ predicate: (query) => query.queryKey[0] !== 'session' });
      client.setQueryData(KEY, session);
    },
    onError: (error) => notifyFailure(error, 'You are still signed in'),
  });
}

function hasRole(session: Session | undefined, needed: Role): boolean {
  if (!session?.role) return false;
  return ORDER.indexOf(session.role) >= ORDER.indexOf(needed);
}

/** Why the one who looks may not do this; null when they may. */
export function refusal(session: Session | undefined, needed: Role): string | null {
  if (hasRole(session, needed)) return null;
  if (!session?.role) return `Sign in with the role ${needed} to do this.`;
  if (!session.signed_in) {
    return `This needs the role ${needed}; without signing in you have the role ${session.role}.`;
  }
  return `This needs the role ${needed}; you are signed in as ${session.role}.`;
}
