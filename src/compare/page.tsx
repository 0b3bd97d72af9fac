import type { MainAreaWidget } from '@jupyterlab/apputils';
import * as React from 'react';

import { lazily } from '../parts/lazy';
import { mainPage } from '../parts/page';
import type { IServices } from '../parts/services';

const CompareView = lazily(async () => (await import('./CompareView')).CompareView);

/** The id of the tab. */
export const COMPARE = 'aios-lab-compare';

/** Runs beside each other, those that are named at first. */
export function comparePage(services: IServices, chosen: readonly string[]): MainAreaWidget {
  const { trans } = services;
  return mainPage(services, {
    id: COMPARE,
    title: trans.__('Compare runs'),
    about: trans.__('One metric of each run in one plot, and what the runs were started with.'),
    body: <CompareView chosen={chosen} />
  });
}
