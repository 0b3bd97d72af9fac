import { act } from 'react';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { RegisterFields } from '../models/RegisterFields';
import { askForm, type Fields } from '../parts/form';
import { ResizeFields } from '../slices/ResizeFields';
import { formOf } from '../slices/claim';
import { Drawing } from './drawing';
import { slice } from './samples';

let page: Drawing;

/** A form in a real dialog; what was sent comes back. */
async function open<T>(value: T, fields: Fields<T>): Promise<T[]> {
  const sent: T[] = [];
  await page.settle(
    () =>
      void askForm(page.services, {
        title: '',
        accept: 'Send',
        value,
        fields,
        submit: async form => void sent.push(form)
      })
  );
  await vi.waitUntil(() => page.settle(() => undefined).then(() => field('input')));
  return sent;
}

const field = <T extends HTMLElement>(selector: string): T =>
  document.querySelector<T>(`.jp-Dialog ${selector}`) as T;
const accept = (): HTMLButtonElement => field<HTMLButtonElement>('.jp-mod-accept');
const rule = (): string | null => document.querySelector('.aios-Rule')?.textContent ?? null;

/** As a browser does it: the value first, then the event. */
function type(name: string, text: string): void {
  const input = field<HTMLInputElement>(`[name=${name}]`);
  const { set } = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value')!;
  act(() => {
    set!.call(input, text);
    input.dispatchEvent(new Event('input', { bubbles: true }));
  });
}

afterEach(async () => {
  await page.settle(() => field('.jp-mod-reject')?.click());
  page.close();
});

describe('the Register dialog', () => {
  it('says the rule of names while one breaks it, and cannot be accepted', async () => {
    page = new Drawing();
    const sent = await open('digits', RegisterFields);
    expect(rule()).toBeNull();
    for (const bad of ['bad/name', ' a', '-a', 'müde', '']) {
      type('name', bad);
      expect(rule()).toContain('begins with a letter or a digit');
      expect(accept().disabled).toBe(true);
    }
    type('name', 'My net_2.1-b');
    expect(rule()).toBeNull();
    expect(accept().disabled).toBe(false);
    accept().click();
    await vi.waitFor(() => expect(sent).toEqual(['My net_2.1-b']));
  });
});

describe('the Resize dialog', () => {
  const cluster = (...paths: string[]) => ({
    simulated: false,
    nodes: [],
    capacity: {},
    used: {},
    principals: paths.map(path => ({ path, weight: 100, share: 0, quota: null, limit: null }))
  });
  const start = async (...paths: string[]) => {
    page = new Drawing();
    page.happen(() => void page.model.watch(['cluster']));
    page.receive('cluster', cluster('cluster', ...paths));
    const unit = { cpus: 1, memory: 1_074e6, gpus: 0, gpu_memory: 0 };
    return open(formOf(slice({ unit, project: 'default' })), ResizeFields);
  };

  it('asks for CPUs and a project of those that the cluster has', async () => {
    const sent = await start('cluster/a%2Fb', 'cluster/default', 'cluster/default/ada');
    const options = [...field('select[name=project]').querySelectorAll('option')];
    expect(options.map(option => option.textContent)).toEqual(['a/b', 'default']);
    expect(field<HTMLInputElement>('[name=memory]').value).toBe('1 GiB');
    type('cpus', '0.5');
    accept().click();
    await vi.waitFor(() => expect(sent[0]).toMatchObject({ cpus: '0.5', project: 'default' }));
  });

  it('has no project to choose where there is one', async () => {
    await start('cluster/default');
    expect(field('select[name=project]')).toBeNull();
  });

  it('says what may be typed', async () => {
    await start();
    for (const [name, bad, good] of [
      ['workers', '0', '2'],
      ['cpus', '0', '0.5'],
      ['memory', 'plenty', ' 1.5 GiB'],
      ['gpus', '-1', '0']
    ]) {
      type(name, bad);
      expect(rule()).toBeTruthy();
      expect(accept().disabled).toBe(true);
      type(name, good);
      expect(rule()).toBeNull();
      expect(accept().disabled).toBe(false);
    }
  });
});
