import * as React from 'react';

import type { CurrentKernel } from '../current';
import { useKernelId } from '../parts/current';
import { EmptyState, Waiting } from '../parts/Notice';
import { useAIOS, useServices } from '../parts/services';
import { orderSlices } from '../state';
import { SliceCard } from './SliceCard';

/** Every slice: that of the notebook in front, mine with what can be done about them, those of others. */
export function SlicesSection(props: { current: CurrentKernel }): React.ReactElement {
  const { trans } = useServices();
  const slices = useAIOS(state => state.slices);
  const kernelId = useKernelId(props.current);
  const ordered = orderSlices(slices ?? [], kernelId);
  const first = ordered[0];
  const front = kernelId !== null && first?.kernel_id === kernelId ? first.id : null;
  const list = React.useRef<HTMLDivElement>(null);
  React.useEffect(() => {
    const section = list.current?.closest('.aios-Section');
    if (front && section) {
      section.scrollTop = 0; // where the slice of the notebook in front is
    }
  }, [front]);
  if (!slices) {
    return <Waiting />;
  }
  const mine = ordered.filter(slice => slice.mine);
  const others = ordered.filter(slice => !slice.mine);
  return (
    <div className="aios-Slices" ref={list}>
      {mine.length === 0 && (
        <EmptyState code="%aios request --workers 2">
          {trans.__('Each notebook gets a slice of the cluster. Open one, then ask for workers:')}
        </EmptyState>
      )}
      {mine.map(slice => (
        <SliceCard key={slice.id} slice={slice} current={slice.id === front} />
      ))}
      {others.length > 0 && <h3 className="aios-Heading">{trans.__('Others')}</h3>}
      {others.map(slice => (
        <SliceCard key={slice.id} slice={slice} />
      ))}
    </div>
  );
}
