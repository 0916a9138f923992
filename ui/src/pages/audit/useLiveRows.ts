import { useCallback, useState } from 'react';

import { useDecisionTail, type Tail } from '../../api/events';
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
export function useLiveRows(on: boolean, filters: Filters, asked: number): Live & Tail {
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
  return { ...live, ...useDecisionTail(on, watchedBy(filters), take) };
}

/** The filters that live events have; by the others rows are picked above. */
function watchedBy(filters: Filters): Filters {
  const { decision, action, agent, user, session_id, run_id, project_id } = filters;
  const { policy, reason, error, shadow, text } = filters;
  const who = { agent, user, session_id, run_id, project_id };
  return { decision, action, policy, reason, error, shadow, text, ...who };
}
