import * as React from 'react';

import { metric } from '../format';
import { Plot } from '../parts/Plot';
import { useServices } from '../parts/services';
import type { Point } from '../wire';
import { figure, plotted } from './figure';

/** A run's losses over its steps, live. */
export function LossPlot(props: { series: Record<string, Point[]> }): React.ReactElement {
  const { trans } = useServices();
  const { series } = props;
  const draw = React.useCallback((node: HTMLElement) => figure(node, series), [series]);
  const said = plotted(series).map(name => {
    const points = series[name];
    return trans.__('%1 is %2', name, metric(points[points.length - 1].value));
  });
  return <Plot draw={draw} label={trans.__('Metrics over steps: %1', said.join(', '))} />;
}
