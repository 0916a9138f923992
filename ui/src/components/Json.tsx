import { ActionIcon, Box, ScrollArea, Tooltip } from '@mantine/core';
import { IconCheck, IconCopy } from '@tabler/icons-react';
import { Fragment, useEffect, useState } from 'react';

import { copyOrTell } from '../lib/notify';
import classes from './Json.module.css';

const TOKEN =
  /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;

/** JSON to be read: coloured, selectable, to be copied. */
export function JsonView({
  value,
  label,
  maxHeight = 420,
}: {
  value: unknown;
  label: string;
  maxHeight?: number;
}) {
  const text = JSON.stringify(value, null, 2) ?? '';
  return (
    <Box className={classes.frame}>
      <CopyIcon text={text} label={`Copy ${label}`} />
      <ScrollArea.Autosize
        mah={maxHeight}
        type="auto"
        viewportProps={{ tabIndex: 0, role: 'region', 'aria-label': label }}
      >
        <pre className={classes.code}>{coloured(text)}</pre>
      </ScrollArea.Autosize>
    </Box>
  );
}

function coloured(text: string) {
  const parts = [];
  let last = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [whole, string, colon, word] = match;
    const kind = string
      ? colon
        ? classes.key
        : classes.string
      : word
        ? classes.word
        : classes.number;
    const shown = string && colon ? string : whole;
    parts.push(
      <Fragment key={match.index}>
        {text.slice(last, match.index)}
        <span className={kind}>{shown}</span>
      </Fragment>,
    );
    last = match.index + shown.length;
  }
  parts.push(text.slice(last));
  return parts;
}

export function CopyIcon({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = window.setTimeout(() => setCopied(false), 1500);
    return () => window.clearTimeout(timer);
  }, [copied]);
  return (
    <Tooltip label={copied ? 'Copied' : label}>
      <ActionIcon
        className={classes.copy}
        variant="default"
        size="sm"
        onClick={() => void copyOrTell(text).then(setCopied)}
        aria-label={copied ? 'Copied' : label}
      >
        {copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
      </ActionIcon>
    </Tooltip>
  );
}
