import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import * as React from 'react';
import { act } from 'react';
import { createRoot, type Root } from 'react-dom/client';

import { ARGS } from '../commands';
import { AIOSModel } from '../model';
import { ServicesProvider, type IServices } from '../parts/services';
import { answering, settings, Socket } from './samples';

Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

/** Components in a page, with a real model whose socket ends in the test. */
export class Drawing {
  constructor(...answers: Response[]) {
    Socket.made = [];
    const { fetch, asked } = answering(...answers);
    this.asked = asked;
    this.model = new AIOSModel(
      settings({ fetch, WebSocket: Socket as unknown as typeof WebSocket })
    );
    this.services = {
      model: this.model,
      commands: new CommandRegistry(),
      trans: nullTranslator.load(''),
      themes: null
    };
    document.body.appendChild(this.node);
    this._root = createRoot(this.node);
  }

  draw(element: React.ReactElement): void {
    act(() =>
      this._root.render(<ServicesProvider value={this.services}>{element}</ServicesProvider>)
    );
  }

  /** The server sends a topic. */
  receive(topic: string, data: unknown): void {
    this._seq += 1;
    act(() => Socket.last.frame(topic, this._seq, data));
  }

  /** Something happens that may change what is drawn. */
  happen(what: () => void): void {
    act(what);
  }

  /** The same, and what it set off ended. */
  async settle(what: () => void): Promise<void> {
    await act(async () => {
      what();
      await new Promise(resolve => setTimeout(resolve, 0));
    });
  }

  click(selector: string): void {
    act(() => this.find(selector).click());
  }

  find<T extends HTMLElement>(selector: string): T {
    const found = this.node.querySelector<T>(selector);
    if (!found) {
      throw new Error(`There is no ${selector} in ${this.node.innerHTML}`);
    }
    return found;
  }

  /** Note the arguments of each call of a command. */
  record(command: string): unknown[] {
    const calls: unknown[] = [];
    this.services.commands.addCommand(command, {
      describedBy: { args: ARGS[command] },
      execute: args => void calls.push(args)
    });
    return calls;
  }

  close(): void {
    act(() => this._root.unmount());
    this.node.remove();
    this.model.dispose();
  }

  readonly node = document.createElement('div');
  readonly model: AIOSModel;
  readonly services: IServices;
  readonly asked: Request[];
  private _root: Root;
  private _seq = 0;
}
