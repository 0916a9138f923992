import { EditorView } from '@codemirror/view';

import { nonce } from '../nonce';

/** The console's colours; both schemes, as they are variables. */
export const look = [
  EditorView.cspNonce.of(nonce),
  EditorView.theme({
    '&': {
      fontSize: '13px',
      color: 'var(--mantine-color-text)',
      backgroundColor: 'var(--mantine-color-body)',
    },
    '&.cm-focused': { outline: 'none' },
    '.cm-scroller': { fontFamily: 'var(--mantine-font-family-monospace)', lineHeight: '1.6' },
    '.cm-content': { caretColor: 'var(--mantine-color-text)', padding: '8px 0' },
    '.cm-cursor': { borderLeftColor: 'var(--mantine-color-text)' },
    '.cm-gutters': {
      backgroundColor: 'var(--sg-sunken)',
      color: 'var(--mantine-color-dimmed)',
      border: 'none',
      borderRight: '1px solid var(--sg-line)',
    },
    '.cm-activeLine': { backgroundColor: 'var(--sg-hover)' },
    '.cm-activeLineGutter': {
      backgroundColor: 'var(--sg-hover)',
      color: 'var(--mantine-color-text)',
    },
    '&.cm-focused .cm-selectionBackground, .cm-selectionBackground, ::selection': {
      backgroundColor: 'color-mix(in srgb, var(--sg-allow) 28%, transparent) !important',
    },
    '.cm-tooltip': {
      backgroundColor: 'var(--mantine-color-body)',
      color: 'var(--mantine-color-text)',
      border: '1px solid var(--sg-line)',
      borderRadius: '8px',
    },
    '.cm-panels': { backgroundColor: 'var(--sg-sunken)', color: 'var(--mantine-color-text)' },
    '&.cm-merge-a .cm-changedLine': { backgroundColor: 'var(--sg-deny-soft) !important' },
    '&.cm-merge-b .cm-changedLine, .cm-insertedLine': {
      backgroundColor: 'var(--sg-good-soft) !important',
    },
    '&.cm-merge-a .cm-changedText, .cm-deletedChunk .cm-deletedText': {
      background: 'color-mix(in srgb, var(--sg-deny) 30%, transparent) !important',
    },
    '&.cm-merge-b .cm-changedText': {
      background: 'color-mix(in srgb, var(--sg-good) 30%, transparent) !important',
    },
    // The colours of the language are too faint on these.
    '.cm-changedText, .cm-changedText *, .cm-deletedText': {
      color: 'var(--mantine-color-text) !important',
    },
    '.cm-deletedLine, .cm-deletedChunk': { backgroundColor: 'var(--sg-deny-soft) !important' },
    '.cm-collapsedLines': {
      background: 'var(--sg-sunken)',
      color: 'var(--mantine-color-dimmed)',
      padding: '4px 12px',
    },
    '.cm-collapsedLines::before, .cm-collapsedLines::after': { content: '"···"' },
    '.cm-foldPlaceholder': {
      padding: '0 6px',
      background: 'var(--sg-sunken)',
      border: '1px solid var(--sg-line)',
      color: 'var(--mantine-color-dimmed)',
    },
    '.sg-fired': { backgroundColor: 'var(--sg-shadow-soft)' },
    '.sg-covered': { boxShadow: 'inset 3px 0 0 var(--sg-good)' },
    '.sg-value': {
      marginLeft: '2em',
      padding: '0 6px',
      borderRadius: '4px',
      fontSize: '12px',
      color: 'var(--sg-shadow-text)',
      backgroundColor: 'var(--mantine-color-body)',
    },
  }),
];
