import { Skeleton } from '@mantine/core';
import { Suspense, lazy, type ComponentProps } from 'react';

const LazyEditor = lazy(() => import('./CodeEditor'));
const LazyDiff = lazy(() => import('./DiffView'));

/** The editor, loaded when it is first shown. */
export function CodeEditor(props: ComponentProps<typeof LazyEditor>) {
  return (
    <Suspense fallback={<Skeleton height={props.minHeight ?? 320} />}>
      <LazyEditor {...props} />
    </Suspense>
  );
}

export function DiffView(props: ComponentProps<typeof LazyDiff>) {
  return (
    <Suspense fallback={<Skeleton height={320} />}>
      <LazyDiff {...props} />
    </Suspense>
  );
}
