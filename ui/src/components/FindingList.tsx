import { Text, UnstyledButton } from '@mantine/core';

import type { Finding } from '../api/types';
import classes from './FindingList.module.css';
import { Prose } from './Prose';
import { ToneBadge } from './Tone';

interface Props {
  findings: Finding[];
  /** Shows a line; without it lines are plain text. */
  onShow: ((line: number) => void) | undefined;
}

/** What the server found in a policy's text, each finding a way to its line. */
export function FindingList({ findings, onShow }: Props) {
  if (findings.length === 0) return null;
  return (
    <ul className={classes.findings}>
      {findings.map((finding, index) => (
        <li key={`${finding.code}${index}`}>
          <UnstyledButton
            className={classes.finding}
            onClick={() => onShow?.(finding.line ?? 1)}
            disabled={!finding.line || !onShow}
          >
            <ToneBadge tone={finding.severity === 'error' ? 'deny' : 'shadow'}>
              {finding.line ? `line ${finding.line}` : finding.severity}
            </ToneBadge>
            <span>
              <Text span size="sm">
                <Prose text={finding.message} />
              </Text>
              {finding.help ? (
                <Text size="xs" c="dimmed">
                  <Prose text={finding.help} />
                </Text>
              ) : null}
            </span>
          </UnstyledButton>
        </li>
      ))}
    </ul>
  );
}
