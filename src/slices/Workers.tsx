import * as React from 'react';

import { bytes, count } from '../format';
import { useServices } from '../parts/services';
import type { Slice } from '../wire';

/** More than this many workers are a bar, not one mark each. */
const MARKS = 16;

/** How many workers run, are granted and are asked for at most, and what one of them has. */
export function Workers(props: { slice: Slice }): React.ReactElement {
  const { trans } = useServices();
  const { workers, target, max_workers: most, unit } = props.slice;
  const long = trans.__('%1 workers run, %2 are granted, %3 at most', workers, target, most);
  const each = [trans.__('%1 CPU', count(unit.cpus)), bytes(unit.memory)];
  if (unit.gpus > 0) {
    each.push(trans.__('%1 GPU', count(unit.gpus)));
  }
  if (props.slice.simulated) {
    each.push(trans.__('simulated'));
  }
  return (
    <div className="aios-Slice-size" title={long}>
      <span className="aios-Slice-workers" aria-label={long}>
        {workers === target
          ? trans.__('%1/%2', workers, most)
          : trans.__('%1→%2/%3', workers, target, most)}
      </span>
      {most <= MARKS && <Marks workers={workers} target={target} most={most} />}
      <span
        className="aios-Faint aios-Ellipsis"
        title={trans.__('Each worker: %1', each.join(', '))}
      >
        {each.join(' · ')}
      </span>
    </div>
  );
}

function Marks(props: { workers: number; target: number; most: number }): React.ReactElement {
  const kind = (index: number): string =>
    index < props.workers ? 'running' : index < props.target ? 'granted' : 'asked';
  return (
    <span className="aios-Marks" aria-hidden="true">
      {Array.from({ length: Math.max(props.most, props.workers) }, (_, index) => (
        <span key={index} className={`aios-Mark aios-mod-${kind(index)}`} />
      ))}
    </span>
  );
}
