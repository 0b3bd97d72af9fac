import type { MainAreaWidget } from '@jupyterlab/apputils';

import { COMPARE, comparePage } from '../compare/page';
import { REPLAY, replayPage } from '../replay/page';
import type { Args, IActionContext } from './context';

/** Show what would have happened under other policies: the tab that is open, else a new one. */
export function openReplay({ app, services }: IActionContext): void {
  if (!open(app, REPLAY)) {
    show(app, replayPage(services));
  }
}

/** Show runs beside each other, those that the arguments name at first. */
export function compareRuns({ app, services }: IActionContext, args: Args): void {
  open(app, COMPARE)?.close();
  show(app, comparePage(services, (args.runs as string[] | undefined) ?? []));
}

type App = IActionContext['app'];

/** The tab with this id, in front; undefined where there is none. */
function open(app: App, id: string): { close: () => void } | undefined {
  const found = [...app.shell.widgets('main')].find(widget => widget.id === id);
  if (found) {
    app.shell.activateById(id);
  }
  return found;
}

function show(app: App, page: MainAreaWidget): void {
  app.shell.add(page, 'main', { type: 'AIOS' });
  app.shell.activateById(page.id);
}
