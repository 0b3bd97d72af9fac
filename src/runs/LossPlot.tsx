import * as React from 'react';

import { metric } from '../format';
import { useServices, useTheme } from '../parts/services';
import type { Point } from '../wire';
import { figure, loadPlotly, plotted } from './plotly';

/** Whether any of the element can be seen: an invisible plot is not drawn. */
function useVisible(node: React.RefObject<HTMLElement>): boolean {
  const [visible, setVisible] = React.useState(typeof IntersectionObserver === 'undefined');
  React.useEffect(() => {
    if (!node.current || typeof IntersectionObserver === 'undefined') {
      return;
    }
    const observer = new IntersectionObserver(entries => {
      setVisible(entries[entries.length - 1].isIntersecting);
    });
    observer.observe(node.current);
    return () => observer.disconnect();
  }, [node]);
  return visible;
}

/** A run's losses over its steps, live. */
export function LossPlot(props: { series: Record<string, Point[]> }): React.ReactElement {
  const { trans } = useServices();
  const { series } = props;
  const node = React.useRef<HTMLDivElement>(null);
  const visible = useVisible(node);
  const theme = useTheme();
  const [missing, setMissing] = React.useState(false);

  React.useEffect(() => {
    let current = true;
    if (visible) {
      loadPlotly().then(
        plotly => {
          if (current && node.current) {
            const { data, layout } = figure(node.current, series);
            void plotly.react(node.current, data, layout, { displayModeBar: false });
          }
        },
        () => setMissing(true)
      );
    }
    return () => {
      current = false;
    };
  }, [visible, series, theme]);

  React.useEffect(() => {
    const element = node.current;
    if (!element) {
      return;
    }
    let drawn = true;
    const observer = new ResizeObserver(() => {
      if (element.classList.contains('js-plotly-plot') && element.clientWidth > 0) {
        void loadPlotly().then(plotly => drawn && plotly.Plots.resize(element));
      }
    });
    observer.observe(element);
    return () => {
      drawn = false;
      observer.disconnect();
      if (element.classList.contains('js-plotly-plot')) {
        void loadPlotly().then(plotly => plotly.purge(element));
      }
    };
  }, []);

  const said = plotted(series).map(name => {
    const points = series[name];
    return trans.__('%1 is %2', name, metric(points[points.length - 1].value));
  });
  return (
    <>
      {missing && (
        <p className="aios-Faint">
          {trans.__('The plot library could not be loaded. Load the page anew to try again.')}
        </p>
      )}
      <div
        ref={node}
        className="aios-Plot"
        role="img"
        aria-label={trans.__('Metrics over steps: %1', said.join(', '))}
      />
    </>
  );
}
