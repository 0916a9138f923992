import { Anchor, Breadcrumbs, Group, Skeleton, Stack, Tabs, Text } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { IconCode, IconFileInfo, IconFlask, IconHistory, IconTestPipe } from '@tabler/icons-react';
import { useState } from 'react';
import { Link, useParams, useSearchParams } from 'react-router';

import { usePolicy } from '../../api/policies';
import type { PolicyDetail } from '../../api/types';
import { Page } from '../../components/Page';
import { Failure, Loading } from '../../components/states';
import { ModeBadge, StatusBadge } from '../../components/badges';
import { PolicySwitch } from '../policies/PolicyCard';
import { AboutTab } from './AboutTab';
import { BenchTab } from './BenchTab';
import classes from './PolicyPage.module.css';
import { EditTab } from './EditTab';
import { LeaveDialog } from './LeaveDialog';
import { SuiteTab } from './SuiteTab';
import { VersionsTab } from './VersionsTab';
import { unsaved, type Draft } from '../../lib/draft';
import { titleOf } from '../../lib/policy';

const TABS = [
  { value: 'overview', label: 'Overview', icon: IconFileInfo },
  { value: 'editor', label: 'Editor', icon: IconCode },
  { value: 'bench', label: 'Test bench', icon: IconFlask },
  { value: 'suite', label: 'Suite', icon: IconTestPipe },
  { value: 'versions', label: 'Versions', icon: IconHistory },
];

export default function PolicyPage() {
  const { id = '' } = useParams();
  const policy = usePolicy(id);
  if (policy.isPending) {
    return (
      <Page title="Policy">
        <Loading label="the policy">
          <Stack>
            <Skeleton height={36} width={420} />
            <Skeleton height={380} radius="lg" />
          </Stack>
        </Loading>
      </Page>
    );
  }
  if (!policy.data) {
    return (
      <Page title="Policy">
        <Failure error={policy.error} what="This policy" retry={() => void policy.refetch()} />
      </Page>
    );
  }
  return <Loaded key={policy.data.id} policy={policy.data} />;
}

function Loaded({ policy }: { policy: PolicyDetail }) {
  const [search, setSearch] = useSearchParams();
  const tab = TABS.find(({ value }) => value === search.get('tab'))?.value ?? 'overview';
  // What is being edited outlives a look at another tab; bench and suite try it before it is saved.
  const [draft, setDraft] = useState<Draft | null>(null);
  const [cases, setCases] = useState<string | null>(null);
  const edited = unsaved(draft, policy);
  const wide = useMediaQuery('(min-width: 48em)', true, { getInitialValueInEffect: false });
  const show = (to: string, line?: number) =>
    setSearch((before) => {
      const next = new URLSearchParams(before);
      next.set('tab', to);
      if (to !== 'bench') next.delete('decision');
      if (line) next.set('line', String(line));
      else next.delete('line');
      return next;
    });
  return (
    <Page
      title={titleOf(policy)}
      badges={
        <Group gap={6}>
          <StatusBadge status={policy.status} />
          <ModeBadge mode={policy.mode} />
        </Group>
      }
      lead={
        <Breadcrumbs separator="›" fz="sm">
          <Anchor component={Link} to="/policies" inherit>
            Policies
          </Anchor>
          <Text inherit className={`sg-mono ${classes.package}`}>
            {policy.package}
          </Text>
          <Text inherit>version {policy.version}</Text>
        </Breadcrumbs>
      }
      actions={<PolicySwitch policy={policy} />}
    >
      <Tabs value={tab} onChange={(value) => show(value ?? 'overview')}>
        <Tabs.List mb="lg" className={classes.tabs ?? ''}>
          {TABS.map(({ value, label, icon: Icon }) => (
            <Tabs.Tab
              key={value}
              value={value}
              leftSection={wide ? <Icon size={16} aria-hidden /> : null}
              px={wide ? 'md' : 8}
            >
              {label}
              {value === 'editor' && edited !== null ? ' •' : ''}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value="overview">
          <AboutTab policy={policy} />
        </Tabs.Panel>
        <Tabs.Panel value="editor">
          <EditTab
            policy={policy}
            draft={draft}
            onDraft={setDraft}
            line={Number(search.get('line')) || null}
          />
        </Tabs.Panel>
        <Tabs.Panel value="bench">
          <BenchTab policy={policy} edited={edited} decision={search.get('decision')} />
        </Tabs.Panel>
        <Tabs.Panel value="suite">
          <SuiteTab
            policy={policy}
            edited={edited}
            typed={cases}
            onTyped={setCases}
            onShow={(line) => show('editor', line)}
          />
        </Tabs.Panel>
        <Tabs.Panel value="versions">
          <VersionsTab policy={policy} />
        </Tabs.Panel>
      </Tabs>
      <LeaveDialog unsaved={edited !== null || cases !== null} />
    </Page>
  );
}
