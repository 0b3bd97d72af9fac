import { colours, layoutFor, type IFigure } from '../parts/plotly';
import type { ReplayFigures } from '../wire';

/** What a plot of replayed policies shows. */
export type View = 'waits' | 'use' | 'shares';

type Line = IFigure['data'][number];

/** One line a policy; what really happened is dashed. */
function line(one: ReplayFigures, colour: string, x: number[], y: number[]): Line {
  return {
    type: 'scatter',
    mode: 'lines',
    name: one.policy,
    x,
    y,
    line: { color: colour, width: 1.5, shape: 'hv', dash: one.past ? 'dot' : 'solid' }
  };
}

/** Values of intervals as a line with steps: the last one lasts to the end. */
function steps(values: number[]): number[] {
  return values.length > 0 ? [...values, values[values.length - 1]] : [];
}

/** What the times of the plots are told in: seconds, and the letter. */
function unitOf(figures: ReplayFigures[]): [number, string] {
  const longest = Math.max(...figures.flatMap(one => one.times), 0);
  const day = 86400;
  return longest > 3 * day ? [day, 'd'] : longest > 7200 ? [3600, 'h'] : [60, 'min'];
}

/** The lines of a view, each with its name, in the order of the figures; what happened has a quiet colour. */
export function lines(
  view: View,
  figures: ReplayFigures[],
  palette: string[],
  quiet: string
): Line[] {
  const [seconds] = unitOf(figures);
  const times = (one: ReplayFigures): number[] => one.times.map(time => time / seconds);
  const played = figures.filter(one => !one.past);
  return figures.map(one => {
    const colour = one.past ? quiet : palette[played.indexOf(one) % palette.length];
    switch (view) {
      case 'waits':
        return line(
          one,
          colour,
          one.waits.map(seconds => Math.max(1, seconds)),
          one.waits.map((_, place) => place / (one.waits.length - 1))
        );
      case 'use':
        return line(one, colour, times(one), steps(one.in_use));
      case 'shares':
        return line(one, colour, times(one), steps(one.mine));
    }
  });
}

/** Traces and layout of a view. */
export function figure(node: HTMLElement, view: View, figures: ReplayFigures[]): IFigure {
  const layout = layoutFor(node, true);
  const xaxis: Partial<Plotly.LayoutAxis> =
    view === 'waits' ? { type: 'log', ticksuffix: ' s' } : { ticksuffix: ` ${unitOf(figures)[1]}` };
  const { lines: palette, text } = colours(node);
  return {
    data: lines(view, figures, palette, text),
    layout: {
      ...layout,
      xaxis: { ...layout.xaxis, ...xaxis },
      yaxis: { ...layout.yaxis, tickformat: '.0%', rangemode: 'tozero' }
    }
  };
}
