import { Notification } from '@jupyterlab/apputils';

import { asProblem } from '../request';

/** Show what went wrong with an action that has no place of its own to show it. */
export function tellProblem(error: unknown): void {
  const { message, hint } = asProblem(error);
  Notification.error(hint ? `${message} ${hint}` : message, { autoClose: false });
}

/** Say what to do first, when a command finds nothing to work on. */
export function tellHint(message: string): void {
  Notification.info(message, { autoClose: 8000 });
}
