import { Anchor, Group, SimpleGrid, Stack, Text } from '@mantine/core';
import { IconAlertTriangle, IconServerOff } from '@tabler/icons-react';
import { Link } from 'react-router';

import type { Fleet } from '../../api/fleet.types';
import { Note } from '../../components/Note';
import { Panel } from '../../components/Panel';
import { Empty, Failure, Lines, Loading } from '../../components/states';
import { Time } from '../../components/Time';
import { ToneBadge } from '../../components/Tone';
import { WorkerTable } from '../../components/WorkerTable';
import { count } from '../../lib/format';
import { sinkOf } from '../../lib/fleet';

interface Props {
  fleet: Fleet | undefined;
  error: Error | null;
  pending: boolean;
}

export function FleetPanel({ fleet, error, pending }: Props) {
  return (
    <Panel
      title="Workers and pipeline"
      aside={
        <Anchor component={Link} to="/fleet" size="sm">
          All of the fleet
        </Anchor>
      }
    >
      {error && !fleet ? <Failure error={error} what="The fleet" /> : null}
      {pending ? (
        <Loading label="workers">
          <Lines />
        </Loading>
      ) : null}
      {fleet ? (
        <Stack>
          <Attention fleet={fleet} />
          <Lag fleet={fleet} />
          {fleet.workers.length > 0 ? (
            <WorkerTable workers={fleet.workers} />
          ) : (
            <Empty icon={IconServerOff} title="No worker answers">
              Checks are not answered now; callers that fail open go on unchecked.
            </Empty>
          )}
        </Stack>
      ) : null}
    </Panel>
  );
}

export function Attention({ fleet }: { fleet: Fleet }) {
  if (fleet.attention.length === 0) return null;
  return (
    <Note tone="shadow" icon={IconAlertTriangle} title="Wants a look" role="alert">
      <Stack gap={4}>
        {fleet.attention.map(({ about, message }) => (
          <Text key={`${about}${message}`} size="sm">
            <b>{about}</b>: {message}
          </Text>
        ))}
      </Stack>
    </Note>
  );
}

function Lag({ fleet }: { fleet: Fleet }) {
  const sink = sinkOf(fleet);
  const audit = fleet.nats.audit;
  const behind = sink ? sink.pending + sink.unacknowledged : null;
  return (
    <SimpleGrid cols={{ base: 2, md: 4 }}>
      <Figure
        label="Sink lag"
        tone={behind === null ? 'deny' : behind > 10_000 ? 'shadow' : 'good'}
      >
        {behind === null ? 'no sink' : `${count(behind)} events`}
      </Figure>
      <Figure label="Audit stream" tone={audit ? 'good' : 'deny'}>
        {audit ? `${count(audit.messages)} events` : 'missing'}
      </Figure>
      <Figure label="Newest event">
        {audit?.last ? <Time value={audit.last.time} style="ago" /> : '–'}
      </Figure>
      <Figure
        label="Dead letters"
        tone={(fleet.nats.dead_letters?.messages ?? 0) > 0 ? 'deny' : 'good'}
      >
        {count(fleet.nats.dead_letters?.messages ?? 0)}
      </Figure>
    </SimpleGrid>
  );
}

interface FigureProps {
  label: string;
  tone?: 'good' | 'shadow' | 'deny';
  children: React.ReactNode;
}

function Figure({ label, tone, children }: FigureProps) {
  const flag = tone === 'deny' ? 'problem' : 'watch';
  return (
    <div>
      <Text size="xs" c="dimmed">
        {label}
      </Text>
      <Group gap={6}>
        <Text fw={600} className="sg-numbers" component="span">
          {children}
        </Text>
        {tone && tone !== 'good' ? <ToneBadge tone={tone}>{flag}</ToneBadge> : null}
      </Group>
    </div>
  );
}
