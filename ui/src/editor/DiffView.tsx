import { MergeView, unifiedMergeView } from '@codemirror/merge';
import { EditorState } from '@codemirror/state';
import { EditorView, lineNumbers } from '@codemirror/view';
import { useEffect, useRef } from 'react';

import classes from './DiffView.module.css';
import { look } from './look';
import { highlighting, rego } from './rego';

interface Props {
  from: string;
  to: string;
  fromLabel: string;
  toLabel: string;
  /** Below each other, where there is no room for two. */
  narrow: boolean;
}

const COLLAPSE = { margin: 3, minSize: 6 };

export default function DiffView({ from, to, fromLabel, toLabel, narrow }: Props) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const parent = host.current;
    if (!parent) return undefined;
    const shared = [
      look,
      lineNumbers(),
      rego(),
      highlighting,
      EditorState.readOnly.of(true),
      EditorState.tabSize.of(4),
    ];
    const labelled = (label: string) => [
      ...shared,
      EditorView.contentAttributes.of({
        'aria-label': label,
        'aria-readonly': 'true',
        tabindex: '0',
      }),
    ];
    const view = narrow
      ? new EditorView({
          parent,
          doc: to,
          extensions: [
            labelled(`${fromLabel} to ${toLabel}`),
            EditorView.lineWrapping,
            unifiedMergeView({ original: from, mergeControls: false, collapseUnchanged: COLLAPSE }),
          ],
        })
      : new MergeView({
          parent,
          a: { doc: from, extensions: labelled(fromLabel) },
          b: { doc: to, extensions: labelled(toLabel) },
          collapseUnchanged: COLLAPSE,
          gutter: true,
        });
    return () => view.destroy();
  }, [from, to, fromLabel, toLabel, narrow]);
  return <div ref={host} className={classes.frame} />;
}
