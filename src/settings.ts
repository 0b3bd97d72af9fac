import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { Signal, type ISignal } from '@lumino/signaling';

import type { IAIOSPreferences, IAIOSSettings } from './tokens';

/** What holds until the settings are read, and where there are none; the same as in the schema. */
const DEFAULTS: IAIOSSettings = {
  liveUpdates: true,
  compressEnergy: 0.9,
  showStatus: true,
  confirmRelease: true
};

/** The settings of the plugin, followed as they change. */
export class Preferences implements IAIOSPreferences {
  get changed(): ISignal<IAIOSPreferences, void> {
    return this._changed;
  }

  get values(): IAIOSSettings {
    return this._values;
  }

  /** Follow a plugin's settings from now on. */
  follow(settings: ISettingRegistry.ISettings): void {
    settings.changed.connect(this._read, this);
    this._read(settings);
  }

  private _read(settings: ISettingRegistry.ISettings): void {
    this._values = { ...DEFAULTS, ...(settings.composite as Partial<IAIOSSettings>) };
    this._changed.emit();
  }

  private _values = DEFAULTS;
  private _changed = new Signal<IAIOSPreferences, void>(this);
}
