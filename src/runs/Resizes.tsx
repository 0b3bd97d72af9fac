import * as React from 'react';

import { clock, pause } from '../format';
import { useServices } from '../parts/services';
import type { Resize } from '../wire';

/** The changes of size in words, newest first. */
export function Resizes(props: { resizes: readonly Resize[] }): React.ReactElement {
  const { trans } = useServices();
  const now = Date.now() / 1000;
  const change = ({ before, after }: Resize): string =>
    before === after
      ? trans._n('%1 rank, begun anew', '%1 ranks, begun anew', after)
      : trans.__('%1 → %2 ranks', before, after);
  return (
    <ol className="aios-Resizes" reversed>
      {[...props.resizes].reverse().map(one => (
        <li key={`${one.time} ${one.step}`}>
          <div>
            <strong>{change(one)}</strong>{' '}
            <span className="aios-Faint">
              {[
                trans.__('step %1', one.step),
                clock(one.time, now),
                one.seconds === null ? '' : trans.__('paused %1', pause(one.seconds))
              ]
                .filter(Boolean)
                .join(' · ')}
            </span>
          </div>
          <div className="aios-Faint">{one.why}</div>
        </li>
      ))}
    </ol>
  );
}
