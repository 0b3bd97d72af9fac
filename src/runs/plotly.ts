import type * as PlotlyModule from 'plotly.js-basic-dist-min';

import type { Point } from '../wire';

export type Plotly = typeof PlotlyModule;

let loading: Promise<Plotly> | null = null;

/** The plot library: a megabyte, so it is fetched with the first plot. Rejects when it cannot be fetched. */
export function loadPlotly(): Promise<Plotly> {
  loading ??= import('plotly.js-basic-dist-min').then(
    module => (module as unknown as { default?: Plotly }).default ?? module,
    (error: unknown) => {
      loading = null; // the next plot tries again
      throw error;
    }
  );
  return loading;
}

/** The names to draw: the losses, or everything when nothing is called a loss. */
export function plotted(series: Record<string, Point[]>): string[] {
  const names = Object.keys(series).filter(name => series[name].length > 0);
  const losses = names.filter(name => /loss/i.test(name));
  return losses.length > 0 ? losses : names;
}

/** Colours that follow the theme, read where the plot stands. */
function colours(node: HTMLElement): { text: string; grid: string; lines: string[] } {
  const style = getComputedStyle(node);
  const read = (name: string, otherwise: string): string =>
    style.getPropertyValue(name).trim() || otherwise;
  return {
    text: read('--jp-ui-font-color2', '#616161'),
    grid: read('--jp-border-color2', '#e0e0e0'),
    lines: [
      read('--jp-brand-color1', '#1976d2'),
      read('--jp-warn-color1', '#f57c00'),
      read('--jp-success-color1', '#388e3c'),
      read('--jp-error-color1', '#d32f2f')
    ]
  };
}

/** The traces and the layout of a run's metrics over its steps. */
export function figure(
  node: HTMLElement,
  series: Record<string, Point[]>
): { data: Partial<Plotly.PlotData>[]; layout: Partial<Plotly.Layout> } {
  const { text, grid, lines } = colours(node);
  const names = plotted(series);
  const data = names.map((name, index): Partial<Plotly.PlotData> => ({
    type: 'scatter',
    mode: series[name].length > 1 ? 'lines' : 'markers',
    name,
    x: series[name].map(point => point.step),
    y: series[name].map(point => point.value),
    line: { color: lines[index % lines.length], width: 1.5 },
    marker: { color: lines[index % lines.length] },
    hovertemplate: `%{x}: %{y:.4g}<extra>${name}</extra>`
  }));
  const axis: Partial<Plotly.LayoutAxis> = {
    gridcolor: grid,
    zeroline: false,
    linecolor: grid,
    automargin: true,
    fixedrange: true
  };
  const layout: Partial<Plotly.Layout> = {
    autosize: true,
    margin: { l: 8, r: 8, t: 8, b: 8 },
    paper_bgcolor: 'rgba(0,0,0,0)',
    plot_bgcolor: 'rgba(0,0,0,0)',
    font: { color: text, size: 10, family: getComputedStyle(node).fontFamily },
    showlegend: names.length > 1,
    legend: { orientation: 'h', x: 0, y: 1.15 },
    xaxis: { ...axis, tickformat: '~s' },
    yaxis: { ...axis, tickformat: '~g', nticks: 5 }
  };
  return { data, layout };
}
