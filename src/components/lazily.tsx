import { LoadingPlaceholder } from '@grafana/ui';
import React, { ComponentType, FunctionComponent, lazy, Suspense } from 'react';

/** A component that is loaded when it is first shown. */
export function lazily<P extends object>(load: () => Promise<ComponentType<P>>): FunctionComponent<P> {
  // The type of lazy() does not carry generic props.
  const Loaded = lazy(async () => ({ default: await load() })) as unknown as ComponentType<P>;
  return function Lazy(props: P) {
    return (
      <Suspense fallback={<LoadingPlaceholder text="Loading …" />}>
        <Loaded {...props} />
      </Suspense>
    );
  };
}
