import { MainAreaWidget } from '@jupyterlab/apputils';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { aiosIcon } from '../icon';
import { ServicesProvider, type IServices } from './services';

/** A tab of the main area, where tables and plots have room. */
export function mainPage(
  services: IServices,
  options: { id: string; title: string; about: string; body: React.ReactElement }
): MainAreaWidget<ReactWidget> {
  const { id, title, about, body } = options;
  const content = ReactWidget.create(
    <ServicesProvider value={services}>
      <h2>{title}</h2>
      <p className="aios-Faint">{about}</p>
      {body}
    </ServicesProvider>
  );
  content.addClass('aios-Page');
  const page = new MainAreaWidget({ content });
  page.id = id;
  page.title.label = title;
  page.title.icon = aiosIcon;
  page.title.closable = true;
  return page;
}
