import type { MainAreaWidget } from '@jupyterlab/apputils';
import * as React from 'react';

import { lazily } from '../parts/lazy';
import { mainPage } from '../parts/page';
import type { IServices } from '../parts/services';

const ReplayView = lazily(async () => (await import('./ReplayView')).ReplayView);

/** The id of the tab. */
export const REPLAY = 'aios-lab-replay';

/** What was recorded, played again under other policies. */
export function replayPage(services: IServices): MainAreaWidget {
  const { trans } = services;
  const page = mainPage(services, {
    id: REPLAY,
    title: trans.__('What would have happened'),
    about: trans.__(
      'The recorded uses of slices, played again under other policies, beside what really happened.'
    ),
    body: <ReplayView />
  });
  page.content.addClass('aios-ReplayPage');
  return page;
}
