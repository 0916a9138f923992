import {
  Autocomplete,
  Box,
  Button,
  Checkbox,
  Collapse,
  Group,
  Pill,
  SegmentedControl,
  SimpleGrid,
  TextInput,
} from '@mantine/core';
import { useDebouncedCallback, useDisclosure } from '@mantine/hooks';
import { IconAdjustmentsHorizontal, IconSearch } from '@tabler/icons-react';
import { useState } from 'react';

import { usePolicies } from '../../api/policies';
import {
  FILTER_LABELS,
  FLAG_FILTERS,
  VALUE_FILTERS,
  type Filters,
  type ValueFilter,
} from '../../lib/filters';

interface Props {
  filters: Filters;
  onChange: (filters: Filters) => void;
}

const MORE: ValueFilter[] = [
  'action',
  'agent',
  'user',
  'session_id',
  'run_id',
  'project_id',
  'policy',
  'reason',
  'id',
];
const ACTIONS = [
  'llm_call',
  'file_read',
  'file_write',
  'file_delete',
  'external_api_call',
  'code_execution',
];

export function FilterBar({ filters, onChange }: Props) {
  const set = (key: keyof Filters, value: string) => {
    onChange({ ...filters, [key]: value || undefined });
  };
  const active = [...VALUE_FILTERS, ...FLAG_FILTERS].filter(
    (key) => filters[key] && key !== 'text' && key !== 'decision',
  );
  const [open, { toggle }] = useDisclosure(false);
  return (
    <Box role="search" aria-label="Filter decisions">
      <Group gap="sm">
        <TextFilter
          label="Search in resource, reason, action and agent"
          value={filters.text ?? ''}
          onChange={(value) => set('text', value)}
        />
        <SegmentedControl
          aria-label="Decision"
          value={filters.decision ?? ''}
          onChange={(value) => set('decision', value)}
          data={[
            { value: '', label: 'All' },
            { value: 'allow', label: 'Allowed' },
            { value: 'deny', label: 'Denied' },
          ]}
        />
        <Button
          variant="default"
          leftSection={<IconAdjustmentsHorizontal size={16} />}
          onClick={toggle}
          aria-expanded={open}
          aria-controls="more-filters"
        >
          Filters{active.length > 0 ? ` (${active.length})` : ''}
        </Button>
        {active.map((key) => (
          <Pill
            key={key}
            size="md"
            withRemoveButton
            onRemove={() => set(key, '')}
            removeButtonProps={{
              'aria-label': `Remove filter ${FILTER_LABELS[key]}`,
              tabIndex: 0,
              'aria-hidden': false,
            }}
          >
            {FILTER_LABELS[key]}
            {filters[key] === 'true' ? '' : `: ${filters[key]}`}
          </Pill>
        ))}
      </Group>
      <Collapse expanded={open} id="more-filters">
        <SimpleGrid cols={{ base: 2, md: 3, xl: 5 }} mt="md" spacing="sm">
          {MORE.map((key) => (
            <ValueField
              key={key}
              name={key}
              value={filters[key] ?? ''}
              onChange={(value) => set(key, value)}
            />
          ))}
        </SimpleGrid>
        <Group mt="md" gap="xl">
          {FLAG_FILTERS.map((key) => (
            <Checkbox
              key={key}
              label={FILTER_LABELS[key]}
              checked={filters[key] === 'true'}
              onChange={(event) => set(key, event.currentTarget.checked ? 'true' : '')}
            />
          ))}
        </Group>
      </Collapse>
    </Box>
  );
}

interface FieldProps {
  name: ValueFilter;
  value: string;
  onChange: (value: string) => void;
}

/** A filter applies when one leaves the field, presses Enter or picks from the list. */
function ValueField({ name, value, onChange }: FieldProps) {
  const policies = usePolicies(false);
  const [text, setText] = useFollowing(value);
  const known: Partial<Record<ValueFilter, string[]>> = {
    action: ACTIONS,
    policy: policies.data?.policies.map((policy) => policy.name) ?? [],
  };
  const apply = (next: string) => {
    if (next.trim() !== value) onChange(next.trim());
  };
  return (
    <Autocomplete
      label={FILTER_LABELS[name]}
      data={known[name] ?? []}
      value={text}
      onChange={setText}
      onOptionSubmit={apply}
      onBlur={() => apply(text)}
      onKeyDown={(event) => {
        if (event.key === 'Enter') apply(text);
      }}
      clearable
      onClear={() => apply('')}
    />
  );
}

function TextFilter({
  label,
  value,
  onChange,
}: {
  label: string;
  value: string;
  onChange: (value: string) => void;
}) {
  const [text, setText] = useFollowing(value);
  const apply = useDebouncedCallback(onChange, 350);
  return (
    <TextInput
      aria-label={label}
      placeholder="Search"
      leftSection={<IconSearch size={16} />}
      value={text}
      w={{ base: '100%', xs: 260 }}
      onChange={(event) => {
        setText(event.currentTarget.value);
        apply(event.currentTarget.value.trim());
      }}
    />
  );
}

/** What one types, until the value is changed from elsewhere, by the URL or a link. */
function useFollowing(value: string) {
  const [typed, setTyped] = useState({ text: value, of: value });
  if (typed.of !== value) setTyped({ text: value, of: value });
  return [typed.text, (text: string) => setTyped({ text, of: value })] as const;
}
