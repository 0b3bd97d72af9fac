import { colours, layoutFor, type IFigure } from '../parts/plotly';
import type { Point, Resize } from '../wire';

type Trace = IFigure['data'][number];
type Line = { x: (number | null)[]; y: (number | null)[] };

/** From this many resizes on, their sizes are not written beside their marks: there is no room. */
const CROWDED = 9;
/** Into so many stretches a run is divided at most to say how fast it was, and none is shorter: seconds. */
const STRETCHES = 60;
const SHORTEST = 0.25;

/** The names to draw: the losses, or everything when nothing is called a loss. */
export function plotted(series: Record<string, Point[]>): string[] {
  const names = Object.keys(series).filter(name => series[name].length > 0);
  const losses = names.filter(name => /loss/i.test(name));
  return losses.length > 0 ? losses : names;
}

/** Values over steps, with a gap where the run went back to a checkpoint. */
export function curve(points: readonly Point[]): Line {
  const line: Line = { x: [], y: [] };
  points.forEach((point, index) => {
    if (index > 0 && point.step < points[index - 1].step) {
      line.x.push(null);
      line.y.push(null);
    }
    line.x.push(point.step);
    line.y.push(point.value);
  });
  return line;
}

/** Steps a second over steps, by stretches of time; steps that were done again do not count twice. */
export function pace(points: readonly Point[]): Line {
  const line: Line = { x: [], y: [] };
  if (points.length === 0) {
    return line;
  }
  const whole = points[points.length - 1].time - points[0].time;
  const stretch = Math.max(SHORTEST, whole / STRETCHES);
  let from = points[0];
  points.slice(1).forEach((to, index) => {
    if (to.step < points[index].step) {
      from = to; // it went back to a checkpoint
    } else if (to.time - from.time >= stretch) {
      line.x.push(to.step);
      line.y.push((to.step - from.step) / (to.time - from.time));
      from = to;
    }
  });
  return line;
}

/** Where each resize stands on a curve: at the last point before it, or the first one. */
export function marks(points: readonly Point[], resizes: readonly Resize[]): Line {
  const at = (resize: Resize): Point | undefined =>
    points.filter(point => point.step <= resize.step && point.time <= resize.time).pop() ??
    points[0];
  return { x: resizes.map(one => one.step), y: resizes.map(one => at(one)?.value ?? null) };
}

/** A change of size as it is written beside its mark. */
export function sizes(resize: Resize): string {
  return resize.before === resize.after ? `↻${resize.after}` : `${resize.before}→${resize.after}`;
}

/** The traces and the layout of a run's metrics over its steps, resizes marked; with its pace where asked. */
export function figure(
  node: HTMLElement,
  series: Record<string, Point[]>,
  resizes: readonly Resize[] = [],
  withPace = false
): IFigure {
  const { lines, text } = colours(node);
  const names = plotted(series);
  const data = names.map((name, index): Trace => {
    const colour = lines[index % lines.length];
    return {
      type: 'scatter',
      mode: series[name].length > 1 ? 'lines' : 'markers',
      name,
      ...curve(series[name]),
      line: { color: colour, width: 1.5 },
      marker: { color: colour },
      hovertemplate: `%{x}: %{y:.4g}<extra>${name}</extra>`
    };
  });
  const layout = layoutFor(node, names.length > 1);
  const yaxis = { ...layout.yaxis, tickformat: '~g' };
  const whole: IFigure = {
    data,
    layout: { ...layout, xaxis: { ...layout.xaxis, tickformat: '~s' }, yaxis }
  };
  if (names.length > 0 && resizes.length > 0) {
    data.push(resizeTrace(series[names[0]], resizes, text));
    whole.layout.shapes = resizes.map(one => upright(one, text));
  }
  const speed = withPace && names.length > 0 ? pace(series[names[0]]) : null;
  if (speed !== null && speed.x.length > 0) {
    data.push(paceTrace(speed, text));
    whole.layout.yaxis = { ...yaxis, domain: [0.34, 1] };
    whole.layout.yaxis2 = { ...yaxis, domain: [0, 0.22], nticks: 3, rangemode: 'tozero' };
    whole.layout.yaxis2.title = { text: 'steps/s', font: { size: 9 } };
    whole.layout.xaxis = { ...whole.layout.xaxis, anchor: 'y2' };
  }
  return whole;
}

function resizeTrace(points: Point[], resizes: readonly Resize[], colour: string): Trace {
  const crowded = resizes.length >= CROWDED;
  return {
    type: 'scatter',
    mode: crowded ? 'markers' : 'text+markers',
    name: '',
    showlegend: false,
    ...marks(points, resizes),
    text: resizes.map(sizes),
    customdata: resizes.map(one => one.why),
    textposition: 'top right',
    textfont: { size: 10, color: colour },
    marker: { symbol: 'diamond', size: 7, color: colour },
    cliponaxis: false,
    hovertemplate: '%{x}: %{text}<br>%{customdata}<extra></extra>'
  };
}

function upright(resize: Resize, colour: string): Partial<Plotly.Shape> {
  return {
    type: 'line',
    x0: resize.step,
    x1: resize.step,
    yref: 'paper',
    y0: 0,
    y1: 1,
    line: { color: colour, width: 1, dash: 'dot' },
    opacity: 0.6
  };
}

function paceTrace(speed: Line, colour: string): Trace {
  return {
    type: 'scatter',
    mode: 'lines',
    name: '',
    showlegend: false,
    yaxis: 'y2',
    ...speed,
    line: { color: colour, width: 1, shape: 'hv' },
    hovertemplate: '%{x}: %{y:.3g}/s<extra></extra>'
  };
}
