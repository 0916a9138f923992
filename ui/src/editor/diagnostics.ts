import type { Diagnostic } from '@codemirror/lint';
import type { Text } from '@codemirror/state';

import type { Finding } from '../api/types';

const SEVERITY = { error: 'error', warning: 'warning', info: 'info' } as const;

/** What the server found, at its place in the text. */
export function diagnosticsOf(doc: Text, findings: Finding[]): Diagnostic[] {
  return findings.map((finding) => {
    const number = Math.min(Math.max(finding.line ?? 1, 1), doc.lines);
    const line = doc.line(number);
    const from = Math.min(line.from + columnOf(line.text, finding.column ?? 1), line.to);
    return {
      from,
      to: Math.max(line.to, from),
      severity: SEVERITY[finding.severity] ?? 'info',
      source: finding.code,
      message: finding.help ? `${finding.message}\n${finding.help}` : finding.message,
    };
  });
}

/** The server counts columns in bytes from 1, the editor in UTF-16 units from 0. */
export function columnOf(text: string, column: number): number {
  const encoder = new TextEncoder();
  let bytes = 0;
  let units = 0;
  for (const character of text) {
    if (bytes >= column - 1) break;
    bytes += encoder.encode(character).length;
    units += character.length;
  }
  return units;
}
