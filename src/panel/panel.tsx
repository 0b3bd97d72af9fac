import {
  PanelWithToolbar,
  ReactWidget,
  SidePanel,
  ToolbarButton,
  refreshIcon
} from '@jupyterlab/ui-components';
import type { ITranslator } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import type { Message } from '@lumino/messaging';
import type { AccordionPanel } from '@lumino/widgets';
import * as React from 'react';

import { CommandIDs } from '../commands';
import type { CurrentKernel } from '../current';
import { aiosIcon } from '../icon';
import { lazily } from '../parts/lazy';
import { ServicesProvider, type IServices } from '../parts/services';
import { TOPICS } from '../topics';
import { Banner } from './Banner';
import { Heights } from './heights';

const load = () => import('./sections');
const ClusterSection = lazily(async () => (await load()).ClusterSection);
const SlicesSection = lazily(async () => (await load()).SlicesSection);
const RunsSection = lazily(async () => (await load()).RunsSection);
const ModelsSection = lazily(async () => (await load()).ModelsSection);

/** The left side panel: cluster, slices, runs and models. It asks the server only while it is shown. */
export class AIOSPanel extends SidePanel {
  constructor(
    private _services: IServices,
    current: CurrentKernel,
    translator: ITranslator
  ) {
    super({ translator });
    this._heights = new Heights(this.content as AccordionPanel);
    const { trans, commands } = _services;
    this.id = 'aios-lab-panel';
    this.addClass('aios-Panel');
    this.title.icon = aiosIcon;
    this.title.caption = trans.__('AIOS: slices, runs and models');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('AIOS'));

    this.header.addWidget(this._widget(<Banner />));
    const cluster = this._section('cluster', trans.__('Cluster'), <ClusterSection />);
    cluster.toolbar.addItem(
      'refresh',
      new ToolbarButton({
        icon: refreshIcon,
        tooltip: trans.__('Refresh'),
        onClick: () => void commands.execute(CommandIDs.refresh)
      })
    );
    this._section('slices', trans.__('Slices'), <SlicesSection current={current} />);
    this._section('runs', trans.__('Runs'), <RunsSection />);
    this._section('models', trans.__('Models'), <ModelsSection />);
  }

  override dispose(): void {
    this._heights.stop();
    this._watching?.dispose();
    super.dispose();
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._watching ??= this._services.model.watch(TOPICS);
  }

  protected override onBeforeHide(msg: Message): void {
    super.onBeforeHide(msg);
    this._watching?.dispose();
    this._watching = null;
  }

  private _section(name: string, label: string, body: React.ReactElement): PanelWithToolbar {
    const section = new PanelWithToolbar();
    section.addClass('aios-Section');
    section.addClass(`aios-Section-${name}`);
    section.title.label = label;
    const widget = this._widget(body);
    section.addWidget(widget);
    this.addWidget(section);
    this._heights.add(section, widget);
    return section;
  }

  private _widget(body: React.ReactElement): ReactWidget {
    const widget = ReactWidget.create(
      <ServicesProvider value={this._services}>{body}</ServicesProvider>
    );
    widget.addClass('aios-Body');
    return widget;
  }

  private _watching: IDisposable | null = null;
  private _heights: Heights;
}
