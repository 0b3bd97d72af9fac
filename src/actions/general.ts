import { Clipboard, Notification } from '@jupyterlab/apputils';
import { NotebookActions } from '@jupyterlab/notebook';

import type { Args, IActionContext } from './context';

/** Put a text on the clipboard and say so. */
export function copy({ services }: IActionContext, args: Args): void {
  const text = String(args.text);
  Clipboard.copyToSystem(text);
  Notification.info(services.trans.__('Copied: %1', text.split('\n')[0]), { autoClose: 3000 });
}

/** Put code into a new cell of the open notebook; where none is open, on the clipboard. */
export function insertCode(context: IActionContext, args: Args): void {
  const { app, notebooks } = context;
  const notebook = notebooks?.currentWidget;
  if (!notebook) {
    copy(context, { text: args.code });
    return;
  }
  NotebookActions.insertBelow(notebook.content);
  notebook.content.activeCell?.model.sharedModel.setSource(String(args.code));
  app.shell.activateById(notebook.id);
}
