import { Button, Center, Stack, Text, Title } from '@mantine/core';
import { useRouteError } from 'react-router';

/** A mistake of the console itself, or a page file that an update of the server has replaced. */
export function Broken() {
  const error = useRouteError();
  return (
    <Center mih="100vh" p="md" component="main">
      <Stack align="center" maw={480}>
        <Title order={1}>This page stopped working</Title>
        <Text ta="center" c="dimmed">
          {error instanceof Error ? error.message : 'The console met an error it did not expect.'}{' '}
          If the server was just updated, loading the page again fetches the new console.
        </Text>
        <Button onClick={() => window.location.reload()}>Load again</Button>
      </Stack>
    </Center>
  );
}
