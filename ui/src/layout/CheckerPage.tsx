import { Button, Card, Code, Group, List, Stack, Text } from '@mantine/core';
import { IconLock } from '@tabler/icons-react';

import { useSession, useSignOut } from '../api/session';
import { Note } from '../components/Note';
import { Page } from '../components/Page';

const WITH_TOKEN = {
  title: 'This token asks for decisions',
  lead: 'It has the role checker, made for agents.',
  further: `Policies, decisions, violations and the fleet can't be seen with it. That takes a token
    with the role viewer, author or admin.`,
};
/** Where there are tokens one is sent to sign in: here there are none. */
const WITHOUT = {
  title: 'This console answers programs',
  lead: 'Everybody has the role checker here, made for agents.',
  further: (
    <>
      Policies, decisions, violations and the fleet can&apos;t be seen with it. Whoever runs the
      console sets <Code>http.tokens</Code>, or gives everybody another role with{' '}
      <Code>http.anonymous</Code>.
    </>
  ),
};

/** For who may ask and not look: what that is for, and how to get further. */
export function CheckerPage() {
  const { data: session } = useSession();
  const signOut = useSignOut();
  if (!session) return null;
  const told = session.signed_in ? WITH_TOKEN : WITHOUT;
  return (
    <Page title={told.title} lead={told.lead}>
      <Card className="sg-card" maw={760}>
        <Stack gap="md">
          <Note tone="shadow" icon={IconLock}>
            <Text inherit c="var(--sg-shadow-text)">
              {told.further}
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
