import * as React from 'react';

import { loadPlotly, type IFigure } from './plotly';
import { useServices, useTheme } from './services';

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

/** A plot that is drawn while it can be seen, anew with each `draw` and each theme. */
export function Plot(props: {
  /** What it shows, for those who do not see it. */
  label: string;
  draw: (node: HTMLElement) => IFigure;
}): React.ReactElement {
  const { trans } = useServices();
  const { label, draw } = props;
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
            const { data, layout } = draw(node.current);
            void plotly.react(node.current, data, layout, { displayModeBar: false });
          }
        },
        () => setMissing(true)
      );
    }
    return () => {
      current = false;
    };
  }, [visible, draw, theme]);

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

  return (
    <>
      {missing && (
        <p className="aios-Faint">
          {trans.__('The plot library could not be loaded. Load the page anew to try again.')}
        </p>
      )}
      <div ref={node} className="aios-Plot" role="img" aria-label={label} />
    </>
  );
}
