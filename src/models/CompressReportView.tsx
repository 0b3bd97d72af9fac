import * as React from 'react';

import { bytes, change, count, metric } from '../format';
import { Fold } from '../parts/Fold';
import { useServices } from '../parts/services';
import type { CompressReport, LayerReport } from '../wire';

/** One line of the table: a quantity before and after. */
interface IComparison {
  name: string;
  before: string;
  after: string;
  change: string;
}

/** Every metric that was measured on both sides, with its change as a difference. */
export function compareMetrics(report: CompressReport): IComparison[] {
  return Object.entries(report.after.metrics)
    .filter(([name]) => name in report.before.metrics)
    .map(([name, after]) => {
      const before = report.before.metrics[name];
      const difference = Number((after - before).toPrecision(3));
      const sign = difference < 0 ? '−' : '+';
      return {
        name,
        before: metric(before),
        after: metric(after),
        change: difference === 0 ? '±0' : sign + metric(Math.abs(difference))
      };
    });
}

/** What compression did: bytes, parameters and metrics, before and after, and layer by layer. */
export function CompressReportView(props: { report: CompressReport }): React.ReactElement {
  const { trans } = useServices();
  const { before, after, layers, version } = props.report;
  const rows: IComparison[] = [
    {
      name: trans.__('size'),
      before: bytes(before.bytes),
      after: bytes(after.bytes),
      change: change(before.bytes, after.bytes)
    },
    {
      name: trans.__('params'),
      before: count(before.parameters),
      after: count(after.parameters),
      change: change(before.parameters, after.parameters)
    },
    ...compareMetrics(props.report)
  ];
  return (
    <div className="aios-Compress-report" data-version={version.version}>
      <table>
        <thead>
          <tr>
            <th scope="col">
              <span className="aios-Hidden">{trans.__('Quantity')}</span>
            </th>
            <th scope="col">
              {version.parent === null ? trans.__('before') : trans.__('v%1', version.parent)}
            </th>
            <th scope="col">{trans.__('v%1', version.version)}</th>
            <th scope="col">
              <span className="aios-Hidden">{trans.__('Change')}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map(row => (
            <tr key={row.name}>
              <th scope="row" title={row.name}>
                {row.name}
              </th>
              <td>{row.before}</td>
              <td>{row.after}</td>
              <td className="aios-Faint">{row.change}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {!version.evaluable && (
        <p className="aios-Faint">
          {trans.__('No held-out data came with the model, so its accuracy was not measured.')}
        </p>
      )}
      {layers.length > 0 && (
        <Fold title={trans.__('Layers')} open={false}>
          <Layers layers={layers} />
        </Fold>
      )}
    </div>
  );
}

function Layers(props: { layers: LayerReport[] }): React.ReactElement {
  const { trans } = useServices();
  return (
    <ul className="aios-Layers">
      {props.layers.map(layer => (
        <li key={layer.layer} title={layer.decision}>
          <span className="aios-Ellipsis">{layer.layer}</span>
          <span className="aios-Faint">
            {layer.rank === null
              ? trans.__('kept')
              : trans.__('rank %1 of %2', layer.rank, layer.full_rank)}
          </span>
          <span className="aios-Faint">{change(layer.before, layer.after)}</span>
        </li>
      ))}
    </ul>
  );
}
