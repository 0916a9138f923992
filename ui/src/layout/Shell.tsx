import { AppShell, Box, Burger, Group, Loader, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useEffect } from 'react';
import { Link, Navigate, Outlet, useLocation, useNavigation } from 'react-router';

import { useSession } from '../api/session';
import { Failure, Lines, Loading } from '../components/states';
import { CheckerPage } from './CheckerPage';
import { EnforcementSwitch } from './EnforcementSwitch';
import { Logo } from './Logo';
import { Nav } from './Nav';
import { SchemeToggle } from './SchemeToggle';
import classes from './Shell.module.css';
import { UserMenu } from './UserMenu';

/** Header, navigation and the page; sends those who must sign in to do so. */
export function Shell() {
  const [open, { toggle, close }] = useDisclosure(false);
  const location = useLocation();
  const busy = useNavigation().state === 'loading';
  const session = useSession();
  useEffect(close, [location.pathname, close]);

  // Who may look without a token does; signing in gives them more.
  const asksOnly = session.data?.role === 'checker';
  const outside = session.data && !session.data.signed_in && session.data.tokens;
  if (session.data && (!session.data.role || (asksOnly && outside))) {
    const from = `${location.pathname}${location.search}`;
    return <Navigate to="/signin" replace state={{ from }} />;
  }
  return (
    <AppShell
      header={{ height: 56 }}
      navbar={{
        width: 216,
        breakpoint: 'sm',
        collapsed: { mobile: !open || asksOnly, desktop: asksOnly },
      }}
      padding={{ base: 'md', md: 'xl' }}
    >
      <a href="#main" className="sg-skip">
        Skip to content
      </a>
      <AppShell.Header className={classes.bar}>
        <Group
          h="100%"
          px={{ base: 'sm', sm: 'md' }}
          justify="space-between"
          wrap="nowrap"
          gap="xs"
        >
          <Group gap="xs" wrap="nowrap">
            {asksOnly ? null : (
              <Burger
                opened={open}
                onClick={toggle}
                hiddenFrom="sm"
                size="sm"
                aria-label={open ? 'Close navigation' : 'Open navigation'}
                aria-expanded={open}
              />
            )}
            <Link to="/" className={classes.brand} aria-label="Sluicegate, to the overview">
              <Logo />
              <Text component="span" fw={700} fz={17} visibleFrom="xs">
                Sluicegate
              </Text>
            </Link>
            {busy ? <Loader size={16} aria-label="Loading page" /> : null}
          </Group>
          <Group gap="xs" wrap="nowrap">
            {session.data && !asksOnly ? <EnforcementSwitch /> : null}
            <SchemeToggle />
            <UserMenu />
          </Group>
        </Group>
      </AppShell.Header>
      {asksOnly ? null : (
        <AppShell.Navbar className={classes.bar} p="sm" aria-label="Main navigation">
          <Nav />
          <Box mt="auto">
            <Access />
          </Box>
        </AppShell.Navbar>
      )}
      <AppShell.Main id="main" tabIndex={-1} className={classes.main}>
        <Box maw={1560} mx="auto">
          {session.isError && !session.data ? (
            // Who is known stays so while the server is away: what is being edited must not go.
            <Failure
              error={session.error}
              what="The console"
              retry={() => void session.refetch()}
            />
          ) : !session.data ? (
            // What a page asks for depends on what one may see.
            <Loading label="the console">
              <Lines />
            </Loading>
          ) : asksOnly ? (
            <CheckerPage />
          ) : (
            <Outlet />
          )}
        </Box>
      </AppShell.Main>
    </AppShell>
  );
}

/** With what right one is here without having signed in; and the version. */
function Access() {
  const { data } = useSession();
  if (!data) return null;
  return (
    <Box className={classes.access}>
      {data.signed_in ? null : data.tokens ? (
        <Text size="xs" mb={6}>
          <b>Not signed in.</b> Anyone who can reach this address has the role {data.role}.
        </Text>
      ) : (
        <Text size="xs" mb={6}>
          <b>No sign-in.</b>{' '}
          {data.loopback
            ? 'Reachable from this machine only, with the rights of an admin.'
            : 'Anyone who can reach this address has the rights shown.'}
        </Text>
      )}
      <Text size="xs" c="dimmed">
        Sluicegate {data.version}
      </Text>
    </Box>
  );
}
