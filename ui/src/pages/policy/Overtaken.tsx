import { Button, Group, Stack } from '@mantine/core';
import { useDisclosure, useMediaQuery } from '@mantine/hooks';
import { IconGitCompare, IconGitMerge } from '@tabler/icons-react';

import { useVersion } from '../../api/policies';
import { Note } from '../../components/Note';
import { Failure } from '../../components/states';
import { DiffView } from '../../editor';

interface Props {
  id: string;
  /** The version that got in before. */
  version: number;
  /** One's own text. */
  text: string;
}

/** Whose version a save would have written over, and how one's own text differs from it. */
export function Overtaken({ id, version, text }: Props) {
  const theirs = useVersion(id, version);
  const [compared, { toggle }] = useDisclosure(false);
  const narrow = useMediaQuery('(max-width: 62em)') ?? false;
  const who = theirs.data?.updated_by;
  return (
    <Stack gap="sm">
      <Note
        tone="shadow"
        role="alert"
        icon={IconGitMerge}
        title={`Not saved: version ${version} came first${who ? `, by ${who}` : ''}`}
      >
        Your text is kept here. Saving it again replaces that of version {version}.
        <Group mt="sm">
          <Button
            size="xs"
            variant="default"
            aria-expanded={compared}
            leftSection={<IconGitCompare size={15} />}
            onClick={toggle}
          >
            Compare with version {version}
          </Button>
        </Group>
      </Note>
      {compared && theirs.isError ? (
        <Failure
          error={theirs.error}
          what={`Version ${version}`}
          retry={() => void theirs.refetch()}
        />
      ) : null}
      {compared && theirs.data ? (
        <DiffView
          from={theirs.data.content}
          to={text}
          fromLabel={`Version ${version}`}
          toLabel="Your text"
          narrow={narrow}
        />
      ) : null}
    </Stack>
  );
}
