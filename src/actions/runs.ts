import { InputDialog } from '@jupyterlab/apputils';

import type { IServices } from '../parts/services';
import { tellHint, tellProblem } from '../parts/tell';
import { hasEnded, orderRuns } from '../state';
import type { Run } from '../wire';
import type { Args, IActionContext } from './context';

/**
 * One of my runs that fit: the only one at once, else the one picked from a list.
 *
 * Null when none fits, after saying `none`, or when nothing was picked.
 */
export async function pickRun(
  services: IServices,
  fits: (run: Run) => boolean,
  texts: { title: string; none: string }
): Promise<Run | null> {
  const { model } = services;
  await model.refresh();
  const runs = orderRuns(model.state.runs ?? []).filter(run => run.mine && fits(run));
  if (runs.length <= 1) {
    if (runs.length === 0) {
      tellHint(texts.none);
    }
    return runs[0] ?? null;
  }
  const items = runs.map(run => `${run.name} (${run.id})`);
  const answer = await InputDialog.getItem({ title: texts.title, items });
  return answer.button.accept ? runs[items.indexOf(answer.value ?? '')] : null;
}

/** Stop the run that the arguments name, else one that is picked. */
export async function stopRun({ services }: IActionContext, args: Args): Promise<void> {
  const { model, trans } = services;
  let id = args.run as string | undefined;
  if (!id) {
    const run = await pickRun(services, one => !hasEnded(one), {
      title: trans.__('Stop which run?'),
      none: trans.__('None of your runs is going on.')
    });
    id = run?.id;
  }
  if (id) {
    await model.stop(id, args.kill === true).catch(tellProblem);
  }
}
