import * as React from 'react';

import { bytes } from '../format';
import { Fold } from '../parts/Fold';
import { useServices } from '../parts/services';
import type { Accelerator, Cluster } from '../wire';

/** Each accelerator with what it does now; nothing where there is none. */
export function Accelerators(props: { cluster: Cluster }): React.ReactElement | null {
  const { trans } = useServices();
  const devices = props.cluster.nodes.flatMap(node =>
    node.accelerators.map(device => ({ node: node.name, device }))
  );
  if (devices.length === 0) {
    return null;
  }
  return (
    <Fold title={trans._n('%1 accelerator', '%1 accelerators', devices.length)} open={false}>
      <ul className="aios-Accelerators">
        {devices.map(({ node, device }) => (
          <li key={`${node}/${device.uuid || device.index}`} title={`${node} · ${device.name}`}>
            <span className="aios-Ellipsis">{`${device.index} ${device.name}`}</span>
            <span className="aios-Faint">{facts(device)}</span>
          </li>
        ))}
      </ul>
    </Fold>
  );
}

function facts(device: Accelerator): string {
  const parts = [
    device.memory_used === null || device.memory_used === undefined
      ? bytes(device.memory)
      : `${bytes(device.memory_used)} / ${bytes(device.memory)}`
  ];
  if (device.utilization !== null && device.utilization !== undefined) {
    parts.push(`${Math.round(device.utilization)}%`);
  }
  if (device.power !== null && device.power !== undefined) {
    parts.push(`${Math.round(device.power)} W`);
  }
  return parts.join(' · ');
}
