import { colours, layoutFor, type IFigure } from '../parts/plotly';
import type { Point } from '../wire';

/** The names to draw: the losses, or everything when nothing is called a loss. */
export function plotted(series: Record<string, Point[]>): string[] {
  const names = Object.keys(series).filter(name => series[name].length > 0);
  const losses = names.filter(name => /loss/i.test(name));
  return losses.length > 0 ? losses : names;
}

/** The traces and the layout of a run's metrics over its steps. */
export function figure(node: HTMLElement, series: Record<string, Point[]>): IFigure {
  const { lines } = colours(node);
  const names = plotted(series);
  const data = names.map((name, index): IFigure['data'][number] => ({
    type: 'scatter',
    mode: series[name].length > 1 ? 'lines' : 'markers',
    name,
    x: series[name].map(point => point.step),
    y: series[name].map(point => point.value),
    line: { color: lines[index % lines.length], width: 1.5 },
    marker: { color: lines[index % lines.length] },
    hovertemplate: `%{x}: %{y:.4g}<extra>${name}</extra>`
  }));
  const layout = layoutFor(node, names.length > 1);
  return {
    data,
    layout: {
      ...layout,
      xaxis: { ...layout.xaxis, tickformat: '~s' },
      yaxis: { ...layout.yaxis, tickformat: '~g' }
    }
  };
}
