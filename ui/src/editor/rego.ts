import {
  HighlightStyle,
  LanguageSupport,
  StreamLanguage,
  type StringStream,
  syntaxHighlighting,
} from '@codemirror/language';
import { tags } from '@lezer/highlight';

const KEYWORDS = new Set(
  'package import default if else contains in some every not with as true false null'.split(' '),
);
const LITERALS = new Set(['true', 'false', 'null']);
const ROOTS = new Set(['input', 'data']);

interface State {
  raw: boolean;
}

/** Just enough of Rego to colour it; whether a text is right is the server's to say. */
const language = StreamLanguage.define<State>({
  name: 'rego',
  startState: () => ({ raw: false }),
  token(stream, state) {
    if (state.raw) {
      state.raw = !skipRaw(stream);
      return 'string';
    }
    if (stream.eatSpace()) return null;
    if (stream.match(/^#\s*(METADATA)\b.*/)) return 'meta';
    if (stream.match(/^#.*/)) return 'comment';
    if (stream.match(/^"(?:[^"\\]|\\.)*"?/)) return 'string';
    if (stream.eat('`')) {
      state.raw = !skipRaw(stream);
      return 'string';
    }
    if (stream.match(/^\d+(\.\d+)?([eE][+-]?\d+)?/)) return 'number';
    const word = stream.match(/^[A-Za-z_][A-Za-z0-9_]*/);
    if (word && typeof word !== 'boolean') return wordKind(word[0], stream);
    if (stream.match(/^(:=|==|!=|<=|>=|[=<>|&+\-*/%])/)) return 'operator';
    stream.next();
    return null;
  },
  languageData: {
    commentTokens: { line: '#' },
    closeBrackets: { brackets: ['(', '[', '{', '"', '`'] },
  },
});

function wordKind(word: string, stream: StringStream): string {
  if (LITERALS.has(word)) return 'atom';
  if (KEYWORDS.has(word)) return 'keyword';
  if (ROOTS.has(word)) return 'variableName.special';
  return stream.peek() === '(' ? 'variableName.function' : 'variableName';
}

function skipRaw(stream: StringStream): boolean {
  if (stream.skipTo('`')) {
    stream.next();
    return true;
  }
  stream.skipToEnd();
  return false;
}

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--sg-allow-text)', fontWeight: '600' },
  { tag: [tags.atom, tags.bool], color: 'var(--sg-error-text)' },
  { tag: tags.string, color: 'var(--sg-good-text)' },
  { tag: tags.number, color: 'var(--sg-shadow-text)' },
  { tag: [tags.comment, tags.meta], color: 'var(--mantine-color-dimmed)', fontStyle: 'italic' },
  { tag: tags.function(tags.variableName), color: 'var(--mantine-color-anchor)' },
  { tag: tags.special(tags.variableName), color: 'var(--sg-error-text)' },
  { tag: tags.propertyName, color: 'var(--sg-allow-text)' },
]);

export const highlighting = syntaxHighlighting(colours);

export function rego(): LanguageSupport {
  return new LanguageSupport(language);
}
