import {
  Button,
  Card,
  Center,
  Code,
  Group,
  PasswordInput,
  Stack,
  Text,
  Title,
} from '@mantine/core';
import { useEffect, useState } from 'react';
import { Navigate, useLocation } from 'react-router';

import { ApiError } from '../../api/client';
import { useSession, useSignIn } from '../../api/session';
import { Failure } from '../../components/states';
import { Logo } from '../../layout/Logo';
import { plural } from '../../lib/format';

/** Only a path of this console: a link must not send people elsewhere after they signed in. */
function target(state: unknown): string {
  const from = (state as { from?: unknown } | null)?.from;
  return typeof from === 'string' && /^\/(?![/\\])/.test(from) ? from : '/';
}

export default function SignIn() {
  const session = useSession();
  const signIn = useSignIn();
  const location = useLocation();
  const [token, setToken] = useState('');
  useEffect(() => {
    document.title = 'Sign in · Sluicegate';
  }, []);

  if (session.data && (!session.data.tokens || session.data.signed_in) && session.data.role) {
    return <Navigate to={target(location.state)} replace />;
  }
  const error = signIn.error;
  return (
    <Center mih="100vh" p="md" component="main">
      <Card className="sg-card" w="100%" maw={420} padding="xl" shadow="sm">
        <Stack gap="lg">
          <Group gap="sm">
            <Logo size={40} />
            <div>
              <Title order={1} fz="lg">
                Sign in to Sluicegate
              </Title>
              <Text size="sm" c="dimmed">
                Policy enforcement for your agents
              </Text>
            </div>
          </Group>
          {session.isError ? (
            <Failure error={session.error} what="Sign-in" retry={() => void session.refetch()} />
          ) : null}
          {session.data && !session.data.tokens ? (
            <Text size="sm">
              This console has no tokens, and lets nobody in without one. Whoever runs it sets{' '}
              <Code>http.tokens</Code>, or gives everybody a role with <Code>http.anonymous</Code>.
            </Text>
          ) : null}
          <form
            hidden={session.data?.tokens === false}
            onSubmit={(event) => {
              event.preventDefault();
              if (token.trim()) signIn.mutate(token.trim());
            }}
          >
            <Stack>
              <PasswordInput
                label="Access token"
                description="An administrator gives it to you; it carries your name and role."
                autoFocus
                required
                withAsterisk={false}
                autoComplete="current-password"
                value={token}
                onChange={(event) => setToken(event.currentTarget.value)}
                error={error ? signInError(error) : null}
                visibilityToggleButtonProps={{ 'aria-label': 'Show or hide the token' }}
              />
              <Button type="submit" loading={signIn.isPending} disabled={!token.trim()}>
                Sign in
              </Button>
            </Stack>
          </form>
        </Stack>
      </Card>
    </Center>
  );
}

function signInError(error: Error): string {
  if (!(error instanceof ApiError)) return error.message;
  if (error.status === 401) return 'This token is not known here.';
  if (error.status === 429) {
    const when = error.retryAfter === null ? 'later' : `in ${plural(error.retryAfter, 'second')}`;
    return `Too many tries from your address. Try again ${when}.`;
  }
  return error.message;
}
