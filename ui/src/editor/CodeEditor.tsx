import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { json } from '@codemirror/lang-json';
import { yaml } from '@codemirror/lang-yaml';
import { bracketMatching, indentUnit } from '@codemirror/language';
import { lintGutter, setDiagnostics } from '@codemirror/lint';
import { highlightSelectionMatches, search, searchKeymap } from '@codemirror/search';
import { Compartment, EditorState } from '@codemirror/state';
import {
  EditorView,
  drawSelection,
  highlightActiveLine,
  highlightActiveLineGutter,
  keymap,
  lineNumbers,
} from '@codemirror/view';
import { useEffect, useRef } from 'react';

import type { Finding } from '../api/types';
import { diagnosticsOf } from './diagnostics';
import classes from './CodeEditor.module.css';
import { foldMetadata, folding } from './folding';
import { look } from './look';
import { lineMarks, setMarks, type LineMark } from './marks';
import { highlighting, rego } from './rego';

const LANGUAGES = { rego, json, yaml };

export interface CodeEditorProps {
  value: string;
  label: string;
  language?: keyof typeof LANGUAGES;
  onChange?: (text: string) => void;
  readOnly?: boolean;
  findings?: Finding[];
  marks?: LineMark[];
  /** A line to show; a new object shows it again. */
  reveal?: { line: number } | null;
  maxHeight?: string;
  minHeight?: string;
}

export default function CodeEditor(props: CodeEditorProps) {
  const {
    value,
    label,
    language = 'rego',
    onChange,
    readOnly = false,
    findings,
    marks,
    reveal,
  } = props;
  const { maxHeight = '65vh', minHeight = '120px' } = props;
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const change = useRef(onChange);
  const first = useRef({ value, label, language, readOnly });
  const locked = useRef(new Compartment());
  useEffect(() => {
    change.current = onChange;
  });

  useEffect(() => {
    if (!host.current) return undefined;
    const made = new EditorView({
      parent: host.current,
      state: EditorState.create({
        doc: first.current.value,
        extensions: [
          look,
          lineNumbers(),
          first.current.language === 'json' ? [] : lintGutter(),
          first.current.language === 'rego' ? folding : [],
          history(),
          drawSelection(),
          bracketMatching(),
          highlightActiveLine(),
          highlightActiveLineGutter(),
          highlightSelectionMatches(),
          search({ top: true }),
          // YAML takes no tabs.
          indentUnit.of(first.current.language === 'yaml' ? '  ' : '\t'),
          EditorState.tabSize.of(4),
          // Escape, then Tab, leaves the editor by keyboard.
          keymap.of([...defaultKeymap, ...historyKeymap, ...searchKeymap, indentWithTab]),
          LANGUAGES[first.current.language](),
          highlighting,
          lineMarks,
          locked.current.of(lock(first.current.readOnly)),
          EditorView.contentAttributes.of({ 'aria-label': first.current.label, tabindex: '0' }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) change.current?.(update.state.doc.toString());
          }),
        ],
      }),
    });
    if (first.current.readOnly) foldMetadata(made);
    view.current = made;
    return () => {
      made.destroy();
      view.current = null;
    };
  }, []);

  useEffect(() => {
    view.current?.dispatch({ effects: locked.current.reconfigure(lock(readOnly)) });
  }, [readOnly]);

  useEffect(() => {
    const current = view.current;
    if (!current || current.state.doc.toString() === value) return;
    current.dispatch({ changes: { from: 0, to: current.state.doc.length, insert: value } });
  }, [value]);

  useEffect(() => {
    const current = view.current;
    if (!current) return;
    current.dispatch(
      setDiagnostics(current.state, diagnosticsOf(current.state.doc, findings ?? [])),
    );
  }, [findings]);

  useEffect(() => {
    view.current?.dispatch({ effects: setMarks.of(marks ?? []) });
  }, [marks, value]);

  useEffect(() => {
    const current = view.current;
    if (!current || !reveal || reveal.line < 1 || reveal.line > current.state.doc.lines) return;
    const { from } = current.state.doc.line(reveal.line);
    current.dispatch({
      selection: { anchor: from },
      effects: EditorView.scrollIntoView(from, { y: 'center' }),
    });
    current.focus();
  }, [reveal]);

  return (
    <div
      ref={host}
      className={classes.frame}
      style={{ '--editor-max': maxHeight, '--editor-min': minHeight } as React.CSSProperties}
    />
  );
}

/** Read-only text can still be reached, scrolled and copied by keyboard. */
function lock(readOnly: boolean) {
  return [
    EditorState.readOnly.of(readOnly),
    EditorView.contentAttributes.of({ 'aria-readonly': String(readOnly) }),
  ];
}
