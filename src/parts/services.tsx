import type { IThemeManager } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import type { IAIOSState } from '../state';
import type { IAIOSModel } from '../tokens';

/** What every component may use. */
export interface IServices {
  model: IAIOSModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
  /** Null where the application has no themes. */
  themes: IThemeManager | null;
}

const ServicesContext = React.createContext<IServices | null>(null);

export const ServicesProvider = ServicesContext.Provider;

export function useServices(): IServices {
  const services = React.useContext(ServicesContext);
  if (!services) {
    throw new Error('An AIOS component is used outside its ServicesProvider.');
  }
  return services;
}

/** One part of the state; the component is drawn again when that part is another object. */
export function useAIOS<T>(select: (state: IAIOSState) => T): T {
  const { model } = useServices();
  const subscribe = React.useCallback(
    (notify: () => void) => {
      model.changed.connect(notify);
      return () => {
        model.changed.disconnect(notify);
      };
    },
    [model]
  );
  return React.useSyncExternalStore(subscribe, () => select(model.state));
}

/** A number that changes with the theme, for what does not follow CSS by itself. */
export function useTheme(): number {
  const { themes } = useServices();
  const [turn, setTurn] = React.useState(0);
  React.useEffect(() => {
    const changed = () => setTurn(before => before + 1);
    themes?.themeChanged.connect(changed);
    return () => {
      themes?.themeChanged.disconnect(changed);
    };
  }, [themes]);
  return turn;
}
