import { codeFolding, foldEffect, foldGutter, foldKeymap, foldService } from '@codemirror/language';
import type { EditorState } from '@codemirror/state';
import { keymap, type EditorView } from '@codemirror/view';

/** The comments below `# METADATA`, which say in YAML what the page already shows in words. */
function metadataFrom(state: EditorState, lineStart: number) {
  const first = state.doc.lineAt(lineStart);
  if (!/^#\s*METADATA\b/.test(first.text)) return null;
  let last = first;
  while (last.number < state.doc.lines) {
    const next = state.doc.line(last.number + 1);
    if (!next.text.startsWith('#')) break;
    last = next;
  }
  return last.number > first.number ? { from: first.to, to: last.to } : null;
}

export const folding = [
  codeFolding({ placeholderText: '…' }),
  foldGutter(),
  foldService.of(metadataFrom),
  keymap.of(foldKeymap),
];

/** Shows the rules first; the metadata is one click away. */
export function foldMetadata(view: EditorView): void {
  const range = metadataFrom(view.state, 0);
  if (range) view.dispatch({ effects: foldEffect.of(range) });
}
