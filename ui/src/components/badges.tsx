import {
  IconAlertTriangle,
  IconCheck,
  IconEye,
  IconFlask,
  IconInfoCircle,
  IconMinus,
  IconUrgent,
  IconX,
} from '@tabler/icons-react';

import type { PolicyMode, PolicyStatus, ScopeKind, Severity } from '../api/types';
import { ToneBadge, type Tone } from './Tone';

const ICON = { size: 12, stroke: 2.4, 'aria-hidden': true } as const;

export function DecisionBadge({ decision }: { decision: string }) {
  const denied = decision === 'deny';
  return (
    <ToneBadge
      tone={denied ? 'deny' : 'allow'}
      leftSection={denied ? <IconX {...ICON} /> : <IconCheck {...ICON} />}
    >
      {denied ? 'Deny' : 'Allow'}
    </ToneBadge>
  );
}

const STATUS: Record<PolicyStatus, { tone: Tone; label: string; title: string }> = {
  active: { tone: 'good', label: 'Active', title: 'Takes part in every check of its scope.' },
  inactive: { tone: 'quiet', label: 'Inactive', title: 'Takes no part in any check.' },
  draft: {
    tone: 'shadow',
    label: 'Draft (shadow)',
    title: 'Evaluated and shown, never blocking.',
  },
};

export function StatusBadge({ status }: { status: PolicyStatus }) {
  const { tone, label, title } = STATUS[status];
  const Icon = { active: IconCheck, inactive: IconMinus, draft: IconFlask }[status];
  return (
    <ToneBadge tone={tone} title={title} leftSection={<Icon {...ICON} />}>
      {label}
    </ToneBadge>
  );
}

export function ModeBadge({ mode }: { mode: PolicyMode | string }) {
  const [tone, title]: [Tone, string] =
    mode === 'enforce'
      ? ['quiet', 'A failed check is denied.']
      : ['shadow', 'What would be denied is allowed, with a warning.'];
  return (
    <ToneBadge tone={tone} title={title}>
      {mode}
    </ToneBadge>
  );
}

const SEVERITY: Record<Severity, { tone: Tone; Icon: typeof IconUrgent }> = {
  critical: { tone: 'deny', Icon: IconUrgent },
  warning: { tone: 'shadow', Icon: IconAlertTriangle },
  info: { tone: 'allow', Icon: IconInfoCircle },
};

export function SeverityBadge({ severity }: { severity: Severity }) {
  const { tone, Icon } = SEVERITY[severity] ?? SEVERITY.info;
  return (
    <ToneBadge tone={tone} leftSection={<Icon {...ICON} />}>
      {severity}
    </ToneBadge>
  );
}

export function ShadowBadge() {
  return (
    <ToneBadge
      tone="shadow"
      title="A draft policy would have denied this."
      leftSection={<IconEye {...ICON} />}
    >
      would deny
    </ToneBadge>
  );
}

export function scopeText(scope: ScopeKind, id: string | undefined): string {
  return scope === 'global' ? 'Everyone' : `${scope} ${id ?? ''}`.trim();
}
