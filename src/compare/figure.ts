import { colours, layoutFor, type IFigure } from '../parts/plotly';
import { curve } from '../runs/figure';
import type { Point, Run } from '../wire';

/** What the plot is drawn over. */
export type Axis = 'steps' | 'seconds';

/** The names of all metrics of the runs: losses first, each once. */
export function metricsOf(runs: readonly Run[]): string[] {
  const names = new Set(runs.flatMap(run => Object.keys(run.series)));
  const isLoss = (name: string): number => Number(/loss/i.test(name));
  return [...names].sort((a, b) => isLoss(b) - isLoss(a) || a.localeCompare(b));
}

/** Values over the seconds since the run began. */
function clocked(points: readonly Point[], began: number): { x: number[]; y: number[] } {
  return { x: points.map(point => point.time - began), y: points.map(point => point.value) };
}

/** The colour of a run in plot and table, by its place among those compared. */
export function colourOf(palette: readonly string[], place: number): string {
  return palette[place % palette.length];
}

/** One metric of several runs in one plot. */
export function figure(
  node: HTMLElement,
  runs: readonly Run[],
  metric: string,
  axis: Axis
): IFigure {
  const palette = colours(node).lines;
  const layout = layoutFor(node, false);
  const data = runs.map((run, place): IFigure['data'][number] => {
    const points = run.series[metric] ?? [];
    const colour = colourOf(palette, place);
    return {
      type: 'scatter',
      mode: points.length > 1 ? 'lines' : 'markers',
      name: run.name,
      ...(axis === 'steps' ? curve(points) : clocked(points, run.started ?? run.created)),
      line: { color: colour, width: 1.5, dash: place < palette.length ? 'solid' : 'dash' },
      marker: { color: colour },
      hovertemplate: `%{x}: %{y:.4g}<extra>${run.name}</extra>`
    };
  });
  const xaxis: Partial<Plotly.LayoutAxis> =
    axis === 'steps' ? { tickformat: '~s' } : { ticksuffix: ' s' };
  return {
    data,
    layout: {
      ...layout,
      xaxis: { ...layout.xaxis, ...xaxis },
      yaxis: { ...layout.yaxis, tickformat: '~g' }
    }
  };
}
