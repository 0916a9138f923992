import { Button, Menu, Text } from '@mantine/core';
import { IconChevronDown, IconEye, IconShieldCheck, IconShieldOff } from '@tabler/icons-react';
import { useState } from 'react';

import { refusal, useSession } from '../api/session';
import { useEnforcement } from '../api/stats';
import type { EnforcementMode } from '../api/types';
import type { Tone } from '../components/Tone';
import { EnforcementDialog } from './EnforcementDialog';
import classes from './Shell.module.css';

const MODES: {
  mode: EnforcementMode;
  label: string;
  tone: Tone;
  icon: typeof IconEye;
  help: string;
}[] = [
  {
    mode: 'on',
    label: 'on',
    tone: 'good',
    icon: IconShieldCheck,
    help: 'Active policies deny what they are made to deny.',
  },
  {
    mode: 'shadow',
    label: 'shadow',
    tone: 'shadow',
    icon: IconEye,
    help: 'Policies are evaluated and recorded, but nothing is denied.',
  },
  {
    mode: 'off',
    label: 'off',
    tone: 'deny',
    icon: IconShieldOff,
    help: 'No policy is evaluated. Every check is allowed and recorded.',
  },
];

/** How all policies take part, in the header of every page; an admin changes it here. */
export function EnforcementSwitch() {
  const { data: session } = useSession();
  const { data: enforcement } = useEnforcement();
  const [asked, setAsked] = useState<EnforcementMode | null>(null);
  if (!enforcement) return null;
  const reason = refusal(session, 'admin');
  const now = MODES.find(({ mode }) => mode === enforcement.mode);
  if (!now) return null;
  const Icon = now.icon;
  return (
    <>
      <Menu position="bottom-end" width={300} withArrow shadow="md">
        <Menu.Target>
          <Button
            variant="default"
            className={classes.switch ?? ''}
            px="sm"
            style={{
              background: `var(--sg-${now.tone}-soft)`,
              color: `var(--sg-${now.tone}-text)`,
            }}
            leftSection={<Icon size={17} aria-hidden />}
            rightSection={<IconChevronDown size={14} aria-hidden />}
            aria-label={`Enforcement is ${now.label}. Change it`}
          >
            <Text component="span" inherit visibleFrom="sm">
              Enforcement&nbsp;
            </Text>
            {now.label}
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Label>{reason ?? 'Enforcement of all policies'}</Menu.Label>
          {MODES.map(({ mode, label, icon: Item, help }) => (
            <Menu.Item
              key={mode}
              disabled={reason !== null || mode === enforcement.mode}
              leftSection={<Item size={18} />}
              onClick={() => setAsked(mode)}
            >
              <Text size="sm" fw={600}>
                {label}
                {mode === enforcement.mode ? ' (now)' : ''}
              </Text>
              <Text size="xs" c="dimmed">
                {help}
              </Text>
            </Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
      <EnforcementDialog asked={asked} now={enforcement.mode} onClose={() => setAsked(null)} />
    </>
  );
}
