import { ARGS, CommandIDs } from '../commands';
import { aiosIcon } from '../icon';
import type { IActionContext } from './context';

/** Make the commands known. What they do is loaded with the first use. */
export function registerCommands(context: IActionContext): void {
  const { app, services } = context;
  const { model, trans } = services;
  const { commands } = app;

  commands.addCommand(CommandIDs.refresh, {
    label: trans.__('Refresh AIOS Panel'),
    caption: trans.__('Ask the server for everything anew'),
    describedBy: { args: ARGS[CommandIDs.refresh] },
    execute: () => model.refresh()
  });
  commands.addCommand(CommandIDs.reconnect, {
    label: trans.__('Reconnect Now'),
    caption: trans.__('Reach for the server without waiting for the next try'),
    describedBy: { args: ARGS[CommandIDs.reconnect] },
    execute: () => model.retry()
  });
  commands.addCommand(CommandIDs.request, {
    label: trans.__('Request Resources for This Notebook…'),
    caption: trans.__('Ask for workers, memory and GPUs for the notebook in front'),
    describedBy: { args: ARGS[CommandIDs.request] },
    execute: async args => (await import('./slices')).request(context, args)
  });
  commands.addCommand(CommandIDs.resize, {
    label: trans.__('Resize Slice…'),
    caption: trans.__('Ask for another size of a slice'),
    describedBy: { args: ARGS[CommandIDs.resize] },
    execute: async args => (await import('./slices')).resize(context, args)
  });
  commands.addCommand(CommandIDs.release, {
    label: trans.__('Release My Slice'),
    caption: trans.__("Give the workers of this notebook's slice back"),
    describedBy: { args: ARGS[CommandIDs.release] },
    execute: async args => (await import('./slices')).release(context, args)
  });
  commands.addCommand(CommandIDs.askToFree, {
    label: trans.__('Ask to Free GPU Memory'),
    caption: trans.__('Ask the owner of a slice to free the GPU memory that its kernel holds'),
    describedBy: { args: ARGS[CommandIDs.askToFree] },
    execute: async args => (await import('./slices')).askToFree(context, args)
  });
  commands.addCommand(CommandIDs.trainCell, {
    label: trans.__('Train on Slice…'),
    caption: trans.__('Choose how to train this cell on the slice'),
    icon: aiosIcon,
    describedBy: { args: ARGS[CommandIDs.trainCell] },
    isVisible: () => context.notebooks?.activeCell?.model.type !== 'markdown',
    execute: async () => (await import('./train')).trainCell(context)
  });
  commands.addCommand(CommandIDs.stopRun, {
    label: trans.__('Stop Run…'),
    caption: trans.__('Stop a run and keep what it has learned'),
    describedBy: { args: ARGS[CommandIDs.stopRun] },
    execute: async args => (await import('./runs')).stopRun(context, args)
  });
  commands.addCommand(CommandIDs.resumeRun, {
    label: trans.__('Resume Run…'),
    caption: trans.__('Train on from a checkpoint of a run'),
    describedBy: { args: ARGS[CommandIDs.resumeRun] },
    execute: async args => (await import('./resume')).resumeRun(context, args)
  });
  commands.addCommand(CommandIDs.register, {
    label: trans.__('Register Model…'),
    caption: trans.__("Put a run's model into the registry"),
    describedBy: { args: ARGS[CommandIDs.register] },
    execute: async args => (await import('./models')).register(context, args)
  });
  commands.addCommand(CommandIDs.compress, {
    label: trans.__('Compress Model…'),
    caption: trans.__('Make a smaller version of a model and compare the two'),
    describedBy: { args: ARGS[CommandIDs.compress] },
    execute: async args => (await import('./models')).compress(context, args)
  });
  commands.addCommand(CommandIDs.openReplay, {
    label: trans.__('What Would Have Happened…'),
    caption: trans.__('Play what was recorded again under other policies'),
    describedBy: { args: ARGS[CommandIDs.openReplay] },
    execute: async () => (await import('./pages')).openReplay(context)
  });
  commands.addCommand(CommandIDs.compareRuns, {
    label: trans.__('Compare Runs…'),
    caption: trans.__('Show runs in one plot, and what they were started with side by side'),
    describedBy: { args: ARGS[CommandIDs.compareRuns] },
    execute: async args => (await import('./pages')).compareRuns(context, args)
  });
  commands.addCommand(CommandIDs.insertCode, {
    label: trans.__('Insert Code'),
    caption: trans.__('Put code into a new cell of the open notebook; copy it where none is open'),
    describedBy: { args: ARGS[CommandIDs.insertCode] },
    execute: async args => (await import('./general')).insertCode(context, args)
  });
  commands.addCommand(CommandIDs.copy, {
    label: trans.__('Copy Text'),
    caption: trans.__('Copy a line of code'),
    describedBy: { args: ARGS[CommandIDs.copy] },
    execute: async args => (await import('./general')).copy(context, args)
  });
}
