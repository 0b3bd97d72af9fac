import { Notification } from '@jupyterlab/apputils';

import type { IAIOSModel } from '../tokens';

/** Tell people, once each time, that somebody asks for the GPU memory that a kernel of theirs holds. */
export function tellAsked(model: IAIOSModel): void {
  let told = new Set<string>();
  model.changed.connect(() => {
    const asked = (model.state.slices ?? []).filter(slice => slice.asked_to_free);
    for (const slice of asked) {
      if (!told.has(slice.id)) {
        Notification.warning(slice.asked_to_free, { autoClose: false });
      }
    }
    told = new Set(asked.map(slice => slice.id));
  });
}
