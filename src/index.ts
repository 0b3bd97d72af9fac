import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, IThemeManager } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { registerCommands } from './actions/register';
import { ARGS, CommandIDs, PALETTE } from './commands';
import { CurrentKernel } from './current';
import { AIOSModel } from './model';
import { AIOSPanel } from './panel/panel';
import type { IServices } from './parts/services';
import { runRenderer } from './renderer/RunOutput';
import { Preferences } from './settings';
import { tellAsked } from './slices/asked';
import { StatusItem } from './status/StatusItem';
import { IAIOSModel, IAIOSPreferences } from './tokens';

const DOMAIN = 'aios-lab';

function servicesOf(
  app: JupyterFrontEnd,
  model: IAIOSModel,
  translator: ITranslator | null,
  themes: IThemeManager | null
): IServices {
  const trans = (translator ?? nullTranslator).load(DOMAIN);
  return { model, commands: app.commands, trans, themes };
}

const settings: JupyterFrontEndPlugin<IAIOSPreferences> = {
  id: 'aios-lab:plugin',
  description: 'Reads the settings of AIOS Lab, and declares its shortcut and menu entry.',
  autoStart: true,
  provides: IAIOSPreferences,
  optional: [ISettingRegistry],
  activate: (_: JupyterFrontEnd, registry: ISettingRegistry | null): IAIOSPreferences => {
    const preferences = new Preferences();
    registry?.load(settings.id).then(
      loaded => preferences.follow(loaded),
      (error: unknown) => console.warn('AIOS Lab uses its default settings.', error)
    );
    return preferences;
  }
};

const model: JupyterFrontEndPlugin<IAIOSModel> = {
  id: 'aios-lab:model',
  description: 'Keeps the state of cluster, slices, runs and models up to date.',
  autoStart: true,
  provides: IAIOSModel,
  requires: [IAIOSPreferences],
  activate: (app: JupyterFrontEnd, preferences: IAIOSPreferences): IAIOSModel => {
    const made = new AIOSModel(app.serviceManager.serverSettings);
    const follow = (): void => {
      made.live = preferences.values.liveUpdates;
    };
    preferences.changed.connect(follow);
    follow();
    return made;
  }
};

const commands: JupyterFrontEndPlugin<void> = {
  id: 'aios-lab:commands',
  description: 'The commands on slices, runs and models, and their palette entries.',
  autoStart: true,
  requires: [IAIOSModel, IAIOSPreferences],
  optional: [INotebookTracker, ICommandPalette, ITranslator, IThemeManager],
  activate: (
    app: JupyterFrontEnd,
    state: IAIOSModel,
    preferences: IAIOSPreferences,
    notebooks: INotebookTracker | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null,
    themes: IThemeManager | null
  ): void => {
    const services = servicesOf(app, state, translator, themes);
    const current = new CurrentKernel(notebooks);
    registerCommands({ app, services, preferences, current, notebooks });
    tellAsked(state);
    const category = services.trans.__('AIOS');
    PALETTE.forEach(command => palette?.addItem({ command, category }));
  }
};

const panel: JupyterFrontEndPlugin<void> = {
  id: 'aios-lab:panel',
  description: 'The side panel with the cluster, slices, runs and models.',
  autoStart: true,
  requires: [IAIOSModel],
  optional: [INotebookTracker, ILayoutRestorer, ITranslator, IThemeManager],
  activate: (
    app: JupyterFrontEnd,
    state: IAIOSModel,
    notebooks: INotebookTracker | null,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null,
    themes: IThemeManager | null
  ): void => {
    const services = servicesOf(app, state, translator, themes);
    const { trans } = services;
    const widget = new AIOSPanel(
      services,
      new CurrentKernel(notebooks),
      translator ?? nullTranslator
    );
    app.shell.add(widget, 'left', { rank: 350, type: 'AIOS' });
    restorer?.add(widget, widget.id);
    app.commands.addCommand(CommandIDs.openPanel, {
      label: trans.__('Show AIOS Panel'),
      caption: trans.__('Show the cluster, slices, runs and models'),
      describedBy: { args: ARGS[CommandIDs.openPanel] },
      execute: () => app.shell.activateById(widget.id)
    });
  }
};

const status: JupyterFrontEndPlugin<void> = {
  id: 'aios-lab:status',
  description: "The status bar's word on the slice of the notebook in front.",
  autoStart: true,
  requires: [IAIOSModel, IAIOSPreferences, IStatusBar, INotebookTracker],
  optional: [ITranslator],
  activate: (
    app: JupyterFrontEnd,
    state: IAIOSModel,
    preferences: IAIOSPreferences,
    bar: IStatusBar,
    notebooks: INotebookTracker,
    translator: ITranslator | null
  ): void => {
    const services = servicesOf(app, state, translator, null);
    const current = new CurrentKernel(notebooks);
    let shown: { dispose: () => void } | null = null;
    const follow = (): void => {
      const { showStatus } = preferences.values;
      if (showStatus && !shown) {
        const item = new StatusItem(services, current);
        const entry = bar.registerStatusItem(status.id, { item, align: 'left', rank: 20 });
        shown = {
          dispose: () => {
            entry.dispose();
            item.dispose();
          }
        };
      } else if (!showStatus && shown) {
        shown.dispose();
        shown = null;
      }
    };
    preferences.changed.connect(follow);
    follow();
  }
};

const renderer: JupyterFrontEndPlugin<void> = {
  id: 'aios-lab:run-output',
  description: "Draws a run in a cell's output: progress, loss, log and a Stop button.",
  autoStart: true,
  requires: [IRenderMimeRegistry, IAIOSModel],
  optional: [ITranslator, IThemeManager],
  activate: (
    app: JupyterFrontEnd,
    registry: IRenderMimeRegistry,
    state: IAIOSModel,
    translator: ITranslator | null,
    themes: IThemeManager | null
  ): void => {
    registry.addFactory(runRenderer(servicesOf(app, state, translator, themes)));
  }
};

export { IAIOSModel, IAIOSPreferences };

const plugins: JupyterFrontEndPlugin<unknown>[] = [
  settings,
  model,
  commands,
  panel,
  status,
  renderer
];
export default plugins;
