import { ActionIcon, Button, Menu, Popover, Text } from '@mantine/core';
import { IconLogin, IconLogout, IconUser } from '@tabler/icons-react';
import { Link, useLocation } from 'react-router';

import { useSession, useSignOut } from '../api/session';

export function UserMenu() {
  const { data: session } = useSession();
  const location = useLocation();
  const signOut = useSignOut();
  if (!session) return null;
  if (!session.signed_in && session.tokens) {
    return (
      <Button
        component={Link}
        to="/signin"
        state={{ from: `${location.pathname}${location.search}` }}
        leftSection={<IconLogin size={17} aria-hidden />}
        px="sm"
      >
        Sign in
      </Button>
    );
  }
  const name = session.name || 'Local user';
  const icon = (
    <ActionIcon variant="default" size="lg" aria-label={`Account: ${name}`}>
      <IconUser size={18} />
    </ActionIcon>
  );
  const who = (
    <>
      <Text size="sm" fw={600} c="var(--mantine-color-text)">
        {name}
      </Text>
      <Text size="xs" c="dimmed">
        Role: {session.role ?? 'none'}
      </Text>
    </>
  );
  if (!session.signed_in) {
    return (
      <Popover position="bottom-end" withArrow shadow="md" width={230}>
        <Popover.Target>{icon}</Popover.Target>
        <Popover.Dropdown p="sm">
          {who}
          <Text size="xs" c="dimmed" mt="xs">
            No tokens are configured: there is no sign-in.
          </Text>
        </Popover.Dropdown>
      </Popover>
    );
  }
  return (
    <Menu position="bottom-end" withArrow shadow="md">
      <Menu.Target>{icon}</Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{who}</Menu.Label>
        <Menu.Divider />
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => signOut.mutate()}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
