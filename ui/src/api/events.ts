import { useCallback, useEffect, useRef, useState } from 'react';

import { apiPath, refusalOf, type Query } from './client';
import type { DecisionEvent } from './types';

export type TailState = 'off' | 'connecting' | 'live' | 'broken';

export interface Tail {
  state: TailState;
  /** Why it is broken, as far as that can be known. */
  error: Error | null;
  retry: () => void;
}

/** Decisions wait here so that a fast fleet makes the page draw a few times a second, not per event. */
const FLUSH_MS = 250;
const CONNECTING = { state: 'connecting', error: null } as const;

/** Follows decisions over server-sent events; after a lost connection the browser comes back by itself. */
export function useDecisionTail(
  on: boolean,
  query: Query,
  take: (events: DecisionEvent[], missed: number) => void,
): Tail {
  const [tail, setTail] = useState<Omit<Tail, 'retry'>>(CONNECTING);
  const [attempt, setAttempt] = useState(0);
  const taker = useRef(take);
  useEffect(() => {
    taker.current = take;
  });
  const url = apiPath('/events', { kind: 'decision', ...query });
  useEffect(() => {
    if (!on) return undefined;
    const source = new EventSource(url);
    const ended = new AbortController();
    let waiting: DecisionEvent[] = [];
    let missed = 0;
    source.onopen = () => setTail({ state: 'live', error: null });
    const tellWhy = async () => {
      const error = await refusalOf(url, ended.signal);
      if (ended.signal.aborted) return;
      setTail({ state: 'broken', error: error ?? new Error('The stream of events ended.') });
    };
    source.onerror = () => {
      setTail(CONNECTING);
      // A refusal ends it for good, and the browser does not say what it was.
      if (source.readyState === EventSource.CLOSED) void tellWhy();
    };
    source.addEventListener('decision', (message) => {
      waiting.push(JSON.parse(message.data as string) as DecisionEvent);
    });
    source.addEventListener('lagged', (message) => {
      missed += Number((JSON.parse(message.data as string) as { missed?: number }).missed ?? 0);
    });
    const timer = window.setInterval(() => {
      if (waiting.length === 0 && missed === 0) return;
      taker.current(waiting, missed);
      waiting = [];
      missed = 0;
    }, FLUSH_MS);
    return () => {
      window.clearInterval(timer);
      source.close();
      ended.abort();
      setTail(CONNECTING);
    };
  }, [on, url, attempt]);
  const retry = useCallback(() => setAttempt((number) => number + 1), []);
  return on ? { ...tail, retry } : { state: 'off', error: null, retry };
}
