import { ActionIcon, Button, Menu, Text } from '@mantine/core';
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
  return (
    <Menu position="bottom-end" withArrow shadow="md">
      <Menu.Target>
        <ActionIcon variant="default" size="lg" aria-label={`Account: ${name}`}>
          <IconUser size={18} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          <Text size="sm" fw={600} c="var(--mantine-color-text)">
            {name}
          </Text>
          <Text size="xs">Role: {session.role ?? 'none'}</Text>
        </Menu.Label>
        {session.signed_in ? (
          <>
            <Menu.Divider />
            <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => signOut.mutate()}>
              Sign out
            </Menu.Item>
          </>
        ) : (
          <Menu.Label>No tokens are configured: there is no sign-in.</Menu.Label>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}
