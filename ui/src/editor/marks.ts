import { StateEffect, StateField, type Extension } from '@codemirror/state';
import { Decoration, EditorView, WidgetType, type DecorationSet } from '@codemirror/view';

/** What an evaluation did on a line. */
export interface LineMark {
  line: number;
  fired: boolean;
  values: string[];
}

export const setMarks = StateEffect.define<LineMark[]>();

class ValueWidget extends WidgetType {
  constructor(readonly text: string) {
    super();
  }

  override eq(other: ValueWidget): boolean {
    return other.text === this.text;
  }

  toDOM(): HTMLElement {
    const element = document.createElement('span');
    element.className = 'sg-value';
    element.textContent = this.text;
    return element;
  }
}

const field = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(marks, transaction) {
    // Typing makes the lines of an earlier evaluation wrong.
    let next = transaction.docChanged ? Decoration.none : marks;
    for (const effect of transaction.effects) {
      if (!effect.is(setMarks)) continue;
      const { doc } = transaction.state;
      const ranges = effect.value
        .filter(({ line }) => line >= 1 && line <= doc.lines)
        .flatMap((mark) => {
          const at = doc.line(mark.line);
          const className = mark.fired ? 'sg-fired sg-covered' : 'sg-covered';
          const line = Decoration.line({ class: className }).range(at.from);
          if (mark.values.length === 0) return [line];
          const widget = new ValueWidget(mark.values.join('  '));
          return [line, Decoration.widget({ widget, side: 1 }).range(at.to)];
        });
      next = Decoration.set(ranges, true);
    }
    return next;
  },
  provide: (self) => EditorView.decorations.from(self),
});

export const lineMarks: Extension = field;
