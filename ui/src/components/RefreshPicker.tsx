import { ActionIcon, Group, Select, Tooltip } from '@mantine/core';
import { useLocalStorage } from '@mantine/hooks';
import { IconRefresh } from '@tabler/icons-react';

const CHOICES = [
  { value: '0', label: 'Manual' },
  { value: '5', label: 'Every 5 s' },
  { value: '15', label: 'Every 15 s' },
  { value: '60', label: 'Every minute' },
];

/** How often pages ask again, in milliseconds; remembered in this browser. */
export function useRefreshInterval() {
  const [stored, set] = useLocalStorage({
    key: 'sluicegate-refresh',
    defaultValue: '15',
    getInitialValueInEffect: false,
  });
  const seconds = CHOICES.some(({ value }) => value === stored) ? Number(stored) : 15;
  return { interval: seconds > 0 ? seconds * 1000 : (false as const), stored, set };
}

interface Props {
  value: string;
  onChange: (value: string) => void;
  onRefresh: () => void;
  busy: boolean;
}

export function RefreshPicker({ value, onChange, onRefresh, busy }: Props) {
  return (
    <Group gap={6} wrap="nowrap">
      <Select
        aria-label="Refresh"
        w={132}
        allowDeselect={false}
        data={CHOICES}
        value={value}
        onChange={(picked) => onChange(picked ?? '15')}
      />
      <Tooltip label="Refresh now">
        <ActionIcon
          variant="default"
          size={36}
          onClick={onRefresh}
          loading={busy}
          aria-label="Refresh now"
        >
          <IconRefresh size={18} />
        </ActionIcon>
      </Tooltip>
    </Group>
  );
}
