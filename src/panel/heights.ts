import type { AccordionPanel, Widget } from '@lumino/widgets';

/**
 * How high each part is drawn, for what each would need.
 *
 * @param needs - pixels that each part needs to show everything; 0 for a folded one
 * @param space - pixels that there are
 * @returns what each part gets: small ones what they need, the rest evenly; what nobody needs goes to the last
 */
export function shareHeight(needs: readonly number[], space: number): number[] {
  const given = needs.map(() => 0);
  const open = needs.map((_, index) => index).filter(index => needs[index] > 0);
  let rest = space;
  [...open]
    .sort((a, b) => needs[a] - needs[b])
    .forEach((index, done) => {
      given[index] = Math.min(needs[index], rest / (open.length - done));
      rest -= given[index];
    });
  if (open.length > 0) {
    given[open[open.length - 1]] += rest;
  }
  return given;
}

/** Keeps the sections of an accordion as high as what they show, until a person moves a border. */
export class Heights {
  constructor(private _accordion: AccordionPanel) {
    this._observer = new ResizeObserver(() => this._arrange());
    this._observer.observe(_accordion.node);
    _accordion.expansionToggled.connect(this._arrange, this);
    _accordion.node.addEventListener('pointerdown', this._onPress, true);
  }

  /** Let a section be as high as this body of it. */
  add(section: Widget, body: Widget): void {
    this._bodies.set(section, body);
    this._observer.observe(body.node);
  }

  /** From now on the borders stay where they are put. */
  stop(): void {
    this._observer.disconnect();
    this._accordion.expansionToggled.disconnect(this._arrange, this);
    this._accordion.node.removeEventListener('pointerdown', this._onPress, true);
  }

  private _onPress = (event: Event): void => {
    if (this._accordion.handles.some(handle => handle.contains(event.target as Node))) {
      this.stop();
    }
  };

  private _arrange(): void {
    const { widgets, node, titleSpace, spacing } = this._accordion;
    const shown = widgets.filter(section => !section.isHidden).length;
    const borders = spacing * Math.max(0, shown - 1);
    const space = node.clientHeight - titleSpace * widgets.length - borders;
    if (space <= 0 || shown === 0) {
      return;
    }
    const needs = widgets.map(section => (section.isHidden ? 0 : this._need(section)));
    this._accordion.setRelativeSizes(shareHeight(needs, space));
  }

  private _need(section: Widget): number {
    const body = this._bodies.get(section)?.node.offsetHeight ?? 0;
    return Math.max(1, body + section.node.offsetHeight - section.node.clientHeight);
  }

  private _bodies = new Map<Widget, Widget>();
  private _observer: ResizeObserver;
}
