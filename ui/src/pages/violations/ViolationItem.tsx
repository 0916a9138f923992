import { Anchor, Box, Button, Group, Text } from '@mantine/core';
import { IconBell, IconBellOff, IconCheck } from '@tabler/icons-react';
import { Link } from 'react-router';

import type { Violation } from '../../api/types';
import { Guard } from '../../components/Guard';
import { Time } from '../../components/Time';
import { ToneBadge } from '../../components/Tone';
import { SeverityBadge } from '../../components/badges';
import { words } from '../../lib/format';
import classes from './Violations.module.css';

interface Props {
  violation: Violation;
  /** Acknowledged here, and not stored yet. */
  pending: boolean;
  onAcknowledge: () => void;
}

export function ViolationItem({ violation, pending, onAcknowledge }: Props) {
  const acknowledged = violation.acknowledged || pending;
  return (
    <li
      className={classes.item}
      data-severity={violation.severity}
      data-acknowledged={acknowledged}
    >
      <Box miw={0} flex="1 1 280px">
        <Group gap="xs" mb={4}>
          <SeverityBadge severity={violation.severity} />
          <Text fw={600} size="sm">
            {violation.reasons.map(words).join(', ') || words(violation.violation_type)}
          </Text>
          <ToneBadge tone={violation.action_taken === 'blocked' ? 'deny' : 'quiet'}>
            {violation.action_taken}
          </ToneBadge>
          <ToneBadge
            tone={violation.notified ? 'good' : 'quiet'}
            leftSection={violation.notified ? <IconBell size={12} /> : <IconBellOff size={12} />}
          >
            {violation.notified ? 'notified' : 'not notified'}
          </ToneBadge>
        </Group>
        <Text size="sm" className={classes.what}>
          <b>{violation.agent || violation.user || 'somebody'}</b> · {violation.action} ·{' '}
          <span className="sg-mono">{violation.resource}</span>
        </Text>
        <Text size="xs" c="dimmed" component="div">
          <Time value={violation.timestamp} style="short" /> ·{' '}
          <Anchor
            component={Link}
            to={`/policies/${violation.policy_name}`}
            inherit
            underline="always"
          >
            {violation.policy_name}
          </Anchor>{' '}
          v{violation.policy_version}
          {violation.session_id ? ` · session ${violation.session_id}` : ''}
        </Text>
        {violation.acknowledged ? (
          <Text size="xs" mt={4} component="div">
            <IconCheck size={12} aria-hidden /> Acknowledged
            {violation.acknowledged_by ? ` by ${violation.acknowledged_by}` : ''}
            {violation.acknowledged_at ? (
              <>
                , <Time value={violation.acknowledged_at} style="ago" />
              </>
            ) : null}
            {violation.acknowledged_comment ? `: ${violation.acknowledged_comment}` : ''}
          </Text>
        ) : null}
      </Box>
      <Group gap="xs" wrap="nowrap">
        <Button
          component={Link}
          size="xs"
          variant="default"
          to={`/audit?id=${violation.decision_id}&range=30d&decision_id=${violation.decision_id}`}
        >
          Decision
        </Button>
        {violation.acknowledged ? null : (
          <Guard need="author">
            {(disabled) => (
              <Button
                size="xs"
                variant="light"
                disabled={disabled || pending}
                onClick={onAcknowledge}
              >
                {pending ? 'Acknowledged' : 'Acknowledge'}
              </Button>
            )}
          </Guard>
        )}
      </Group>
    </li>
  );
}
