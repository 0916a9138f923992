import { Button, Tooltip } from '@mantine/core';
import { IconPlayerPause, IconPlayerPlay } from '@tabler/icons-react';

import type { TailState } from '../../api/events';
import classes from './Audit.module.css';

interface Props {
  on: boolean;
  state: TailState;
  onChange: (on: boolean) => void;
}

const SAID: Record<TailState, string> = {
  off: 'Show decisions as they happen',
  connecting: 'Connecting to the stream of events…',
  live: 'Decisions appear as they happen. Click to stop.',
  broken: 'Decisions do not appear: the stream of events was refused. Click to stop.',
};

export function LiveSwitch({ on, state, onChange }: Props) {
  return (
    <Tooltip label={SAID[state]}>
      <Button
        variant={on ? 'filled' : 'default'}
        aria-pressed={on}
        onClick={() => onChange(!on)}
        leftSection={
          on ? (
            <span className={classes.dot} data-state={state} aria-hidden />
          ) : (
            <IconPlayerPlay size={15} />
          )
        }
        rightSection={on ? <IconPlayerPause size={14} /> : null}
      >
        Live tail
      </Button>
    </Tooltip>
  );
}
