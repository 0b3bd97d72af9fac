import { MainAreaWidget } from '@jupyterlab/apputils';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { aiosIcon } from '../icon';
import { lazily } from '../parts/lazy';
import { ServicesProvider, type IServices } from '../parts/services';

const ReplayView = lazily(async () => (await import('./ReplayView')).ReplayView);

/** A tab of the main area, where table and plots have room. */
export function replayPage(services: IServices): MainAreaWidget<ReactWidget> {
  const { trans } = services;
  const content = ReactWidget.create(
    <ServicesProvider value={services}>
      <h2>{trans.__('What would have happened')}</h2>
      <p className="aios-Faint">
        {trans.__(
          'The recorded uses of slices, played again under other policies, beside what really happened.'
        )}
      </p>
      <ReplayView />
    </ServicesProvider>
  );
  content.addClass('aios-ReplayPage');
  const page = new MainAreaWidget({ content });
  page.id = 'aios-lab-replay';
  page.title.label = trans.__('What would have happened');
  page.title.icon = aiosIcon;
  page.title.closable = true;
  return page;
}
