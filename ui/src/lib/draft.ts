import type { PolicyDetail } from '../api/types';

/** A policy's text while it is edited, until it is saved or discarded. */
export interface Draft {
  text: string;
  /** The text that it was made from, and its version: a save must not write over another text. */
  of: string;
  base: number;
  /** The version that got in before a save; whoever saves again after that wants to replace it. */
  overtakenBy: number | null;
}

type Stored = Pick<PolicyDetail, 'content' | 'version'>;

export function typed(before: Draft | null, stored: Stored, text: string): Draft | null {
  if (text === stored.content) return null;
  return { of: stored.content, base: stored.version, overtakenBy: null, ...before, text };
}

/** What is left once a text was saved: what was typed on meanwhile. */
export function saved(before: Draft | null, text: string, version: number): Draft | null {
  if (!before || before.text === text) return null;
  return { ...before, of: text, base: version, overtakenBy: null };
}

export function overtaken(before: Draft | null, version: number): Draft | null {
  return before && { ...before, base: version, overtakenBy: version };
}

/** The version that a save replaces. */
export function baseOf(draft: Draft | null, stored: Stored): number {
  // A change of anything else than the text, such as one's own switch, is in nobody's way.
  return draft && draft.of !== stored.content ? draft.base : stored.version;
}

/** The text that isn't saved; null where it is. */
export function unsaved(draft: Draft | null, stored: Stored): string | null {
  return draft && draft.text !== stored.content ? draft.text : null;
}
