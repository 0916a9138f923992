import { Button } from '@mantine/core';
import { IconMapQuestion } from '@tabler/icons-react';
import { Link } from 'react-router';

import { Page } from '../components/Page';
import { Empty } from '../components/states';

export function NotFound() {
  return (
    <Page title="No such page">
      <Empty
        icon={IconMapQuestion}
        title="There is nothing at this address"
        action={
          <Button component={Link} to="/" variant="default">
            To the overview
          </Button>
        }
      />
    </Page>
  );
}
