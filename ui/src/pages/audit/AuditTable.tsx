import { Box, Loader, Skeleton, Stack } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { IconListSearch } from '@tabler/icons-react';
import { useVirtualizer } from '@tanstack/react-virtual';
import { useEffect, useLayoutEffect, useRef, useState, type KeyboardEvent } from 'react';

import type { DecisionRow } from '../../api/types';
import { Empty, Loading } from '../../components/states';
import classes from './Audit.module.css';
import { AuditRow } from './AuditRow';

const COLUMNS = [
  'Time',
  'Decision',
  'Action',
  'Resource',
  'Agent',
  'Session',
  'Policy',
  'Reason',
  'Took',
];
/** The next page is asked for while so many rows are still below the view. */
const AHEAD = 250;

interface Props {
  rows: DecisionRow[];
  added: { count: number; batch: number };
  loading: boolean;
  stale: boolean;
  more: boolean;
  fetching: boolean;
  onMore: () => void;
  selected: string | null;
  onSelect: (id: string) => void;
  filtered: boolean;
}

/** A table of any length: only the rows in view are in the page. */
export function AuditTable(props: Props) {
  const { rows, added, loading, stale, more, fetching, onMore, selected, onSelect, filtered } =
    props;
  const scroller = useRef<HTMLDivElement>(null);
  const narrow = useMediaQuery('(max-width: 48em)', false, { getInitialValueInEffect: false });
  const height = narrow ? 76 : 38;
  const [active, setActive] = useState(-1);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    overscan: 16,
    scrollPaddingStart: narrow ? 0 : 38,
  });
  useEffect(() => virtual.measure(), [height, virtual]);

  const shown = virtual.getVirtualItems();
  const last = shown[shown.length - 1]?.index ?? 0;
  useEffect(() => {
    if (more && !fetching && rows.length > 0 && last >= rows.length - AHEAD) onMore();
  }, [last, more, fetching, rows.length, onMore]);

  // New rows on top must not move what one is reading further down.
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element && added.count > 0 && element.scrollTop > height) {
      element.scrollTop += added.count * height;
    }
    // eslint-disable-next-line react-hooks/exhaustive-deps -- once for each batch
  }, [added.batch]);

  const move = (to: number) => {
    const next = Math.max(0, Math.min(rows.length - 1, to));
    setActive(next);
    virtual.scrollToIndex(next);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? height) / height) - 2);
    const steps: Record<string, number> = {
      ArrowDown: active + 1,
      ArrowUp: active - 1,
      PageDown: active + page,
      PageUp: active - page,
      Home: 0,
      End: rows.length - 1,
    };
    const to = steps[event.key];
    const row = rows[active];
    if (to !== undefined) {
      event.preventDefault();
      move(to);
    } else if ((event.key === 'Enter' || event.key === ' ') && row) {
      event.preventDefault();
      onSelect(row.id);
    }
  };

  if (loading) {
    return (
      <Loading label="decisions">
        <Stack gap={8}>
          {Array.from({ length: 12 }, (_, row) => (
            <Skeleton key={row} height={30} />
          ))}
        </Stack>
      </Loading>
    );
  }
  if (rows.length === 0) {
    return (
      <Box className={classes.frame}>
        <Empty
          icon={IconListSearch}
          title={filtered ? 'No decision fits' : 'No decisions in this time'}
        >
          {filtered
            ? 'Take a filter away, or pick a longer time.'
            : 'Pick a longer time, or switch on the live tail and let an agent ask.'}
        </Empty>
      </Box>
    );
  }
  return (
    <Box
      className={`${classes.frame} ${narrow ? classes.narrow : ''} ${stale ? classes.stale : ''}`}
    >
      <div
        ref={scroller}
        className={classes.scroll}
        role="grid"
        aria-label="Decisions. Arrow keys move, Enter opens."
        aria-rowcount={more ? -1 : rows.length + 1}
        aria-colcount={COLUMNS.length}
        aria-activedescendant={active >= 0 ? `decision-${active}` : undefined}
        tabIndex={0}
        onKeyDown={onKeyDown}
      >
        <div role="rowgroup">
          <div className={classes.head} role="row" aria-rowindex={1}>
            {COLUMNS.map((name) => (
              <span key={name} role="columnheader" className={name === 'Took' ? classes.right : ''}>
                {name}
              </span>
            ))}
          </div>
        </div>
        <div role="rowgroup" className={classes.body} style={{ height: virtual.getTotalSize() }}>
          {shown.map(({ index, start }) => {
            const row = rows[index];
            return row ? (
              <AuditRow
                key={row.id}
                row={row}
                index={index}
                start={start}
                active={index === active || row.id === selected}
                onOpen={onSelect}
              />
            ) : null;
          })}
        </div>
        {fetching ? (
          <Box ta="center" py={6}>
            <Loader size={16} aria-label="Loading more decisions" />
          </Box>
        ) : null}
      </div>
    </Box>
  );
}
