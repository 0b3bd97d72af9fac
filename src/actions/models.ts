import { InputDialog, Notification } from '@jupyterlab/apputils';

import { modelName } from '../format';
import { CompressFields, compressRequestOf, type ICompressForm } from '../models/CompressFields';
import { RegisterFields } from '../models/RegisterFields';
import { askForm } from '../parts/form';
import type { IServices } from '../parts/services';
import { tellHint, tellProblem } from '../parts/tell';
import type { CompressRequest, Run } from '../wire';
import type { Args, IActionContext } from './context';
import { pickRun } from './runs';

interface ITarget {
  name: string;
  version: number;
}

/** Register the model of the run that the arguments name, else of one that is picked. */
export async function register({ services }: IActionContext, args: Args): Promise<void> {
  const { model, trans } = services;
  const { name, suggestion } = args as Record<string, string | undefined>;
  const run = args.run
    ? { id: String(args.run), name: suggestion ?? '' }
    : await pickSaved(services);
  if (!run) {
    return;
  }
  const send = async (chosen: string): Promise<void> => {
    const made = await model.register({ run_id: run.id, name: chosen });
    Notification.success(trans.__('Registered %1 version %2.', made.name, made.version), {
      autoClose: 4000
    });
  };
  if (name) {
    await send(name).catch(tellProblem);
    return;
  }
  await askForm<string>(services, {
    title: trans.__('Register model'),
    accept: trans.__('Register'),
    value: modelName(run.name),
    fields: RegisterFields,
    submit: send
  });
}

function pickSaved(services: IServices): Promise<Run | null> {
  const { trans } = services;
  return pickRun(services, run => run.has_model, {
    title: trans.__('Register the model of which run?'),
    none: trans.__(
      'None of your runs has saved a model yet. Call ctx.save_model(model) when training.'
    )
  });
}

/** Compress the version that the arguments name, else one that is picked. */
export async function compress(context: IActionContext, args: Args): Promise<void> {
  const { services, preferences } = context;
  const { model, trans } = services;
  const target = args.name
    ? { name: String(args.name), version: Number(args.version) }
    : await pickVersion(services);
  if (!target) {
    return;
  }
  const { name, version } = target;
  const { energy, ratio } = args as CompressRequest;
  if (energy !== undefined || ratio !== undefined) {
    await model.compress(name, version, { energy, ratio }).catch(tellProblem);
    return;
  }
  const value: ICompressForm = {
    by: 'energy',
    energy: Math.round(preferences.values.compressEnergy * 100),
    ratio: 50
  };
  await askForm(services, {
    title: trans.__('Compress %1 v%2', name, version),
    accept: trans.__('Compress'),
    value,
    fields: CompressFields,
    submit: async form => {
      await model.compress(name, version, compressRequestOf(form));
    }
  });
}

async function pickVersion(services: IServices): Promise<ITarget | null> {
  const { model, trans } = services;
  await model.refresh();
  const targets = (model.state.models ?? []).flatMap(one =>
    one.versions.map(({ name, version }) => ({ name, version }))
  );
  if (targets.length === 0) {
    tellHint(trans.__('There is no model to compress yet. Register one from a run first.'));
    return null;
  }
  const items = targets.map(target => trans.__('%1 v%2', target.name, target.version));
  const answer = await InputDialog.getItem({ title: trans.__('Compress which model?'), items });
  return answer.button.accept ? (targets[items.indexOf(answer.value ?? '')] ?? null) : null;
}
