import { Dialog, showDialog } from '@jupyterlab/apputils';

import { askForm } from '../parts/form';
import { tellHint, tellProblem } from '../parts/tell';
import { ResizeFields } from '../slices/ResizeFields';
import { formOf, requestOf } from '../slices/claim';
import type { ClaimRequest, Slice } from '../wire';
import type { Args, IActionContext } from './context';

const ASKED = ['workers', 'cpus', 'memory', 'gpus', 'priority', 'project'] as const;

/** The request that a command's arguments make; null when they name nothing to ask for. */
function requestIn(args: Args): ClaimRequest | null {
  const named = ASKED.filter(name => args[name] !== undefined);
  return named.length > 0 ? Object.fromEntries(named.map(name => [name, args[name]])) : null;
}

type Find = (slices: readonly Slice[]) => Slice | null | undefined;

/** A slice of those known; the server is asked when none are. */
async function known(context: IActionContext, find: Find): Promise<Slice | null> {
  const { model } = context.services;
  if (!model.state.slices) {
    await model.refresh();
  }
  return find(model.state.slices ?? []) ?? null;
}

/** The slice of the notebook in front, or a hint and null. */
async function ofNotebook(context: IActionContext): Promise<Slice | null> {
  const slice = await known(context, slices => context.current.slice(slices));
  if (!slice) {
    const { trans } = context.services;
    tellHint(trans.__('Open a notebook with a running kernel first: each has a slice of its own.'));
  }
  return slice;
}

async function change(
  context: IActionContext,
  slice: Slice,
  args: Args,
  texts: { title: string; accept: string }
): Promise<void> {
  const { model, trans } = context.services;
  const request = requestIn(args);
  if (request) {
    await model.resize(slice.id, request).catch(tellProblem);
    return;
  }
  if (!model.state.cluster) {
    await model.refresh(); // the form lists the cluster's projects
  }
  const before = formOf(slice);
  await askForm(context.services, {
    ...texts,
    about: trans.__('The slice of %1', slice.name || slice.user),
    value: before,
    fields: ResizeFields,
    submit: async form => {
      await model.resize(slice.id, requestOf(form, before));
    }
  });
}

async function isSure(context: IActionContext, slice: Slice): Promise<boolean> {
  if (!context.preferences.values.confirmRelease) {
    return true;
  }
  const { trans } = context.services;
  const busy = trans.__('A run is training on it and will be stopped.');
  const idle = trans.__('Its workers end, with the data they hold. The notebook keeps running.');
  const answer = await showDialog({
    title: trans.__('Release the slice of %1?', slice.name || slice.user),
    body: slice.busy ? busy : idle,
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.warnButton({ label: trans.__('Release') })
    ]
  });
  return answer.button.accept;
}

/** Ask for resources for the notebook in front. */
export async function request(context: IActionContext, args: Args): Promise<void> {
  const { trans } = context.services;
  const slice = await ofNotebook(context);
  if (slice) {
    const texts = { title: trans.__('Request resources'), accept: trans.__('Request') };
    await change(context, slice, args, texts);
  }
}

/** Ask for another size of the slice that the arguments name. */
export async function resize(context: IActionContext, args: Args): Promise<void> {
  const { trans } = context.services;
  const slice = await known(context, slices => slices.find(one => one.id === args.slice));
  if (slice) {
    const texts = { title: trans.__('Resize slice'), accept: trans.__('Resize') };
    await change(context, slice, args, texts);
  } else {
    tellHint(trans.__('There is no slice %1 any more.', String(args.slice)));
  }
}

/** Ask the owner of the slice that the arguments name to free the GPU memory that its kernel holds. */
export async function askToFree(context: IActionContext, args: Args): Promise<void> {
  const { model, trans } = context.services;
  await model
    .askToFree(String(args.slice))
    .then(() => tellHint(trans.__('The owner is asked to free the GPU memory.')), tellProblem);
}

/** Give back the slice that the arguments name, else that of the notebook in front. */
export async function release(context: IActionContext, args: Args): Promise<void> {
  const slice = args.slice
    ? await known(context, slices => slices.find(one => one.id === args.slice))
    : await ofNotebook(context);
  if (slice && (await isSure(context, slice))) {
    await context.services.model.release(slice.id).catch(tellProblem);
  }
}
