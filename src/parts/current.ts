import * as React from 'react';

import type { CurrentKernel } from '../current';

/** The id of the kernel in front; the component is drawn again when it is another. */
export function useKernelId(current: CurrentKernel): string | null {
  const subscribe = React.useCallback(
    (notify: () => void) => {
      current.changed.connect(notify);
      return () => {
        current.changed.disconnect(notify);
      };
    },
    [current]
  );
  return React.useSyncExternalStore(subscribe, () => current.id);
}
