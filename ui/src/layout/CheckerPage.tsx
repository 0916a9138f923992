import { Button, Card, Code, Group, List, Stack, Text } from '@mantine/core';
import { IconLock } from '@tabler/icons-react';

import { useSession, useSignOut } from '../api/session';
import { Note } from '../components/Note';
import { Page } from '../components/Page';

/** For who may ask and not look: what the token is for, and how to get further. */
export function CheckerPage() {
  const { data: session } = useSession();
  const signOut = useSignOut();
  if (!session) return null;
  return (
    <Page title="This token asks for decisions" lead="It has the role checker, made for agents.">
      <Card className="sg-card" maw={760}>
        <Stack gap="md">
          <Note tone="shadow" icon={IconLock}>
            <Text inherit c="var(--sg-shadow-text)">
              Policies, decisions, violations and the fleet can&apos;t be seen with it. That takes a
              token with the role viewer, author or admin.
            </Text>
          </Note>
          <Text size="sm">
            {session.signed_in ? (
              <>
                You are signed in as <b>{session.name}</b>. With this token, programs may:
              </>
            ) : (
              'Without a token, programs may:'
            )}
          </Text>
          <List size="sm" spacing={6}>
            <List.Item>
              ask as OPA&apos;s clients do: <Code>POST /v1/data/&lt;package&gt;</Code>
            </List.Item>
            <List.Item>
              ask as AuthZEN&apos;s clients do: <Code>POST /access/v1/evaluation</Code> and{' '}
              <Code>/access/v1/evaluations</Code>
            </List.Item>
          </List>
          <Text size="sm" c="dimmed">
            Each answer is a decision of the workers, recorded like any other.
          </Text>
          {session.signed_in ? (
            <Group>
              <Button loading={signOut.isPending} onClick={() => signOut.mutate()}>
                Sign in with another token
              </Button>
            </Group>
          ) : null}
        </Stack>
      </Card>
    </Page>
  );
}
