import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { INotebookTracker } from '@jupyterlab/notebook';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { CurrentKernel } from '../current';
import type { IServices } from '../parts/services';
import type { IAIOSPreferences } from '../tokens';

/** What the commands work with. */
export interface IActionContext {
  app: JupyterFrontEnd;
  services: IServices;
  preferences: IAIOSPreferences;
  current: CurrentKernel;
  notebooks: INotebookTracker | null;
}

export type Args = ReadonlyPartialJSONObject;
