import { Button, Group, Popover, Select, Stack } from '@mantine/core';
import { DateTimePicker } from '@mantine/dates';
import '@mantine/dates/styles.layer.css';
import { useState } from 'react';

import { RANGES, type TimeRange } from '../lib/range';
import { format } from '../lib/time';

interface Props {
  value: TimeRange;
  onChange: (range: TimeRange) => void;
}

const CUSTOM = 'custom';

/** A time range: one that moves with the clock, or two times of the viewer's zone. */
export function RangePicker({ value, onChange }: Props) {
  const [open, setOpened] = useState(false);
  const [calendar, setCalendar] = useState(false);
  const setOpen = (next: boolean) => {
    setOpened(next);
    setCalendar(false);
  };
  const named =
    value.kind === 'last' ? RANGES.find((range) => range.seconds === value.seconds)?.value : CUSTOM;
  const custom = value.kind === 'between' ? between(value.since, value.until) : 'Between…';
  return (
    <Popover
      opened={open}
      onChange={setOpen}
      position="bottom-end"
      withArrow
      shadow="md"
      trapFocus
      // Escape closes the calendar alone while one is open.
      closeOnEscape={!calendar}
    >
      <Popover.Target>
        <Select
          aria-label="Time range"
          w={value.kind === 'between' ? 270 : 170}
          allowDeselect={false}
          value={named ?? null}
          data={[
            ...RANGES.map((range) => ({ value: range.value, label: range.label })),
            { value: CUSTOM, label: custom },
          ]}
          onChange={(picked) => {
            if (picked === CUSTOM) {
              setOpen(true);
              return;
            }
            const range = RANGES.find((one) => one.value === picked);
            if (range) onChange({ kind: 'last', seconds: range.seconds });
          }}
          onOptionSubmit={(picked) => {
            // Picking it once more changes the two times.
            if (picked === CUSTOM) setOpen(true);
          }}
        />
      </Popover.Target>
      <Popover.Dropdown>
        {open ? (
          <Between
            value={value}
            onCalendar={setCalendar}
            onApply={(range) => {
              setOpen(false);
              onChange(range);
            }}
          />
        ) : null}
      </Popover.Dropdown>
    </Popover>
  );
}

interface BetweenProps {
  value: TimeRange;
  /** A calendar was opened, or closed. */
  onCalendar: (open: boolean) => void;
  onApply: (range: TimeRange) => void;
}

function Between({ value, onCalendar, onApply }: BetweenProps) {
  const calendar = (id: string) => ({
    id,
    // With the same id the calendar is called by its field.
    popoverProps: { id, withinPortal: false, onOpen: () => onCalendar(true) },
    onDropdownClose: () => onCalendar(false),
    valueFormat: 'YYYY-MM-DD HH:mm:ss',
    withSeconds: true,
    previousLabel: 'Month before',
    nextLabel: 'Month after',
    submitButtonProps: { 'aria-label': 'Take this time' },
    timePickerProps: {
      hoursInputLabel: 'Hours',
      minutesInputLabel: 'Minutes',
      secondsInputLabel: 'Seconds',
    },
  });
  const [since, setSince] = useState<string | null>(() =>
    local(value.kind === 'between' ? value.since : ''),
  );
  const [until, setUntil] = useState<string | null>(() =>
    local(value.kind === 'between' ? value.until : ''),
  );
  const wrong =
    since && until && new Date(since) >= new Date(until) ? 'Must be after the start.' : null;
  return (
    <Stack w={250}>
      <DateTimePicker {...calendar('range-since')} label="From" value={since} onChange={setSince} />
      <DateTimePicker
        {...calendar('range-until')}
        clearButtonProps={{ 'aria-label': 'Clear' }}
        label="To"
        placeholder="Now"
        clearable
        value={until}
        onChange={setUntil}
        error={wrong}
      />
      <Group justify="flex-end">
        <Button
          size="xs"
          disabled={!since || wrong !== null}
          onClick={() =>
            onApply({
              kind: 'between',
              since: new Date(since ?? '').toISOString(),
              until: until ? new Date(until).toISOString() : '',
            })
          }
        >
          Apply
        </Button>
      </Group>
    </Stack>
  );
}

/** As the picker has it: the viewer's zone, without one in the text. */
function local(value: string): string | null {
  const date = new Date(value);
  if (!value || Number.isNaN(date.getTime())) return null;
  const shifted = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 19).replace('T', ' ');
}

function between(since: string, until: string): string {
  const from = format.dayMinute.format(new Date(since));
  return `${from} – ${until ? format.dayMinute.format(new Date(until)) : 'now'}`;
}
