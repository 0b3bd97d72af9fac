import type * as PlotlyModule from 'plotly.js-basic-dist-min';

export type Plotly = typeof PlotlyModule;

/** What is drawn: traces, and the layout around them. */
export interface IFigure {
  data: Partial<PlotlyModule.PlotData>[];
  layout: Partial<PlotlyModule.Layout>;
}

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

/** Colours that follow the theme, read where the plot stands. */
export function colours(node: HTMLElement): { text: string; grid: string; lines: string[] } {
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

/** Axes and surroundings that follow the theme. */
export function layoutFor(node: HTMLElement, legend: boolean): Partial<PlotlyModule.Layout> {
  const { text, grid } = colours(node);
  const axis: Partial<PlotlyModule.LayoutAxis> = {
    gridcolor: grid,
    zeroline: false,
    linecolor: grid,
    automargin: true,
    fixedrange: true
  };
  return {
    autosize: true,
    margin: { l: 8, r: 8, t: 8, b: 8 },
    paper_bgcolor: 'rgba(0,0,0,0)',
    plot_bgcolor: 'rgba(0,0,0,0)',
    font: { color: text, size: 10, family: getComputedStyle(node).fontFamily },
    showlegend: legend,
    legend: { orientation: 'h', x: 0, y: 1.15 },
    xaxis: { ...axis },
    yaxis: { ...axis, nticks: 5 }
  };
}
