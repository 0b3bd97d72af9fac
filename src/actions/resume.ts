import { Clipboard } from '@jupyterlab/apputils';
import { NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';

import type { IServices } from '../parts/services';
import { tellHint } from '../parts/tell';
import type { Run } from '../wire';
import type { Args, IActionContext } from './context';
import { pickRun } from './runs';

/**
 * Train on from a checkpoint of the run that the arguments name, else of one that is picked.
 *
 * A kernel does it: that of the run's own notebook where it is open, else that of the notebook in front. The
 * line that asks for it stands in a cell of its own, so that the new run is shown there.
 */
export async function resumeRun(context: IActionContext, args: Args): Promise<void> {
  const { app, services } = context;
  const { trans } = services;
  const run = args.run ? String(args.run) : (await pickResumable(services))?.id;
  if (!run) {
    return;
  }
  const line = `%aios resume ${run}${args.step === undefined ? '' : ` --step ${Number(args.step)}`}`;
  const notebook = notebookOf(context, run);
  if (!notebook) {
    Clipboard.copyToSystem(line);
    tellHint(trans.__('Open a notebook and run %1 there; the line is on the clipboard.', line));
    return;
  }
  app.shell.activateById(notebook.id);
  NotebookActions.insertBelow(notebook.content);
  notebook.content.activeCell?.model.sharedModel.setSource(line);
  await NotebookActions.run(notebook.content, notebook.sessionContext);
}

function pickResumable(services: IServices): Promise<Run | null> {
  const { trans } = services;
  return pickRun(services, run => run.checkpoints.length > 0, {
    title: trans.__('Resume which run?'),
    none: trans.__(
      'None of your runs has a checkpoint. Call ctx.prepare with a DataLoader, or ctx.checkpoint, when training.'
    )
  });
}

/** The open notebook whose kernel began the run, else the one in front; null where none is open. */
function notebookOf({ services, notebooks }: IActionContext, runId: string): NotebookPanel | null {
  const { runs, slices } = services.model.state;
  const run = runs?.find(one => one.id === runId);
  const kernel = slices?.find(one => one.id === run?.slice_id)?.kernel_id;
  const own = kernel
    ? notebooks?.find(panel => panel.sessionContext.session?.kernel?.id === kernel)
    : undefined;
  return own ?? notebooks?.currentWidget ?? null;
}
