import * as React from 'react';

/**
 * A component whose code is loaded when it is first drawn.
 *
 * When it cannot be loaded, as while the server restarts, it is tried again until it can.
 */
export function lazily<P extends object>(
  load: () => Promise<React.ComponentType<P>>,
  retryAfter = 2000
): React.FunctionComponent<P> {
  const tryLoading = (): Promise<React.ComponentType<P>> =>
    load().catch(async () => {
      await new Promise(resolve => setTimeout(resolve, retryAfter));
      return tryLoading();
    });
  const Loaded = React.lazy(async () => ({
    default: await tryLoading()
  })) as unknown as React.ComponentType<P>;
  return function Lazily(props: P): React.ReactElement {
    return (
      <React.Suspense fallback={null}>
        <Loaded {...props} />
      </React.Suspense>
    );
  };
}
