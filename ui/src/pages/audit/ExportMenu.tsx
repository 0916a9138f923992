import { Button, Menu } from '@mantine/core';
import {
  IconBraces,
  IconDatabase,
  IconDownload,
  IconFileTypeCsv,
  IconTable,
} from '@tabler/icons-react';

import type { Query } from '../../api/client';
import { exportPath } from '../../api/decisions';
import { copyAndTell } from '../../lib/notify';

const FORMATS = [
  { format: 'csv', label: 'CSV', icon: IconFileTypeCsv },
  { format: 'jsonl', label: 'JSON Lines', icon: IconBraces },
  { format: 'parquet', label: 'Parquet', icon: IconTable },
] as const;

/** The list as it is filtered, as a file or as the SQL that finds it. */
export function ExportMenu({ query, sql }: { query: Query; sql: string | null }) {
  return (
    <Menu position="bottom-end" withArrow shadow="md">
      <Menu.Target>
        <Button variant="default" leftSection={<IconDownload size={16} />}>
          Export
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>All decisions that fit the filters</Menu.Label>
        {FORMATS.map(({ format, label, icon: Icon }) => (
          <Menu.Item
            key={format}
            component="a"
            href={exportPath(query, format)}
            download
            leftSection={<Icon size={17} />}
          >
            {label}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item
          leftSection={<IconDatabase size={17} />}
          disabled={!sql}
          onClick={() => void copyAndTell(sql ?? '', 'The SQL of this list is copied.')}
        >
          Copy as SQL
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
