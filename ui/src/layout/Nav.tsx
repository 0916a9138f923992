import { NavLink } from '@mantine/core';
import {
  IconAlertOctagon,
  IconChartAreaLine,
  IconFileText,
  IconListSearch,
  IconServer2,
} from '@tabler/icons-react';
import { Link, useLocation } from 'react-router';

import classes from './Shell.module.css';

const PAGES = [
  { to: '/', label: 'Overview', icon: IconChartAreaLine },
  { to: '/policies', label: 'Policies', icon: IconFileText },
  { to: '/audit', label: 'Audit', icon: IconListSearch },
  { to: '/violations', label: 'Violations', icon: IconAlertOctagon },
  { to: '/fleet', label: 'Fleet', icon: IconServer2 },
];

export function Nav() {
  const { pathname } = useLocation();
  return PAGES.map(({ to, label, icon: Icon }) => {
    const active = to === '/' ? pathname === '/' : pathname.startsWith(to);
    return (
      <NavLink
        key={to}
        component={Link}
        to={to}
        label={label}
        active={active}
        aria-current={active ? 'page' : undefined}
        className={classes.link ?? ''}
        leftSection={<Icon size={19} stroke={1.7} aria-hidden />}
      />
    );
  });
}
