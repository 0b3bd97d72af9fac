import * as React from 'react';

import { metric } from '../format';
import { Plot } from '../parts/Plot';
import { useServices } from '../parts/services';
import type { Run } from '../wire';
import { figure, plotted } from './figure';

/** A run's losses over its steps, live, its resizes marked; with `pace` also how fast it was. */
export function LossPlot(props: { run: Run; pace: boolean }): React.ReactElement {
  const { trans } = useServices();
  const { pace } = props;
  const { series, resizes } = props.run;
  const draw = React.useCallback(
    (node: HTMLElement) => figure(node, series, resizes, pace),
    [series, resizes, pace]
  );
  const said = plotted(series).map(name => {
    const points = series[name];
    return trans.__('%1 is %2', name, metric(points[points.length - 1].value));
  });
  if (resizes.length > 0) {
    said.push(trans._n('%1 resize', '%1 resizes', resizes.length));
  }
  return <Plot draw={draw} label={trans.__('Metrics over steps: %1', said.join(', '))} />;
}
