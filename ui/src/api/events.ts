import { useEffect, useRef, useState } from 'react';

import { apiPath, type Query } from './client';
import type { DecisionEvent } from './types';

export type TailState = 'off' | 'connecting' | 'live' | 'broken';

/** Decisions wait here so that a fast fleet makes the page draw a few times a second, not per event. */
const FLUSH_MS = 250;

/** Follows decisions over server-sent events; the browser connects again by itself. */
export function useDecisionTail(
  on: boolean,
  query: Query,
  take: (events: DecisionEvent[], missed: number) => void,
): TailState {
  const [state, setState] = useState<'connecting' | 'live' | 'broken'>('connecting');
  const taker = useRef(take);
  useEffect(() => {
    taker.current = take;
  });
  const url = apiPath('/events', { kind: 'decision', ...query });
  useEffect(() => {
    if (!on) return undefined;
    const source = new EventSource(url);
    let waiting: DecisionEvent[] = [];
    let missed = 0;
    source.onopen = () => setState('live');
    source.onerror = () =>
      setState(source.readyState === EventSource.CLOSED ? 'broken' : 'connecting');
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
      setState('connecting');
    };
  }, [on, url]);
  return on ? state : 'off';
}
