import { useCallback, useState } from 'react';

import { useDecisionTail, type TailState } from '../../api/events';
import type { DecisionEvent, DecisionRow } from '../../api/types';
import { matches, rowOf, type Filters } from '../../lib/filters';

/** A tail that runs over lunch must not fill the browser's memory. */
const MOST = 5000;

interface Live {
  /** The list that the rows belong to. */
  list: string;
  rows: DecisionRow[];
  /** How many rows came on top with the last batch, and which batch that was. */
  added: { count: number; batch: number };
  missed: number;
}

const NONE: Live = { list: '', rows: [], added: { count: 0, batch: 0 }, missed: 0 };

/** Decisions since the tail was switched on, newest first; emptied when the list is asked anew. */
export function useLiveRows(
  on: boolean,
  filters: Filters,
  asked: number,
): Live & { state: TailState } {
  const [live, setLive] = useState<Live>(NONE);
  const key = JSON.stringify(filters);
  const list = `${asked} ${key}`;
  if (live.list !== list) setLive({ ...NONE, list });
  const take = useCallback(
    (events: DecisionEvent[], missed: number) => {
      const wanted = JSON.parse(key) as Filters;
      const fresh = events
        .map(rowOf)
        .filter((row) => matches(row, wanted))
        .reverse();
      setLive((before) => ({
        ...before,
        rows: fresh.length > 0 ? [...fresh, ...before.rows].slice(0, MOST) : before.rows,
        added: { count: fresh.length, batch: before.added.batch + 1 },
        missed: before.missed + missed,
      }));
    },
    [key],
  );
  // What the server can't filter by is filtered above.
  const { decision, action, agent, session_id, policy } = filters;
  const state = useDecisionTail(on, { decision, action, agent, session_id, policy }, take);
  return { ...live, state };
}
