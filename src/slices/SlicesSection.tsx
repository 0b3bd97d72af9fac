import * as React from 'react';

import { EmptyState, Waiting } from '../parts/Notice';
import { useAIOS, useServices } from '../parts/services';
import { orderSlices } from '../state';
import { SliceCard } from './SliceCard';

/** Every slice: mine first, with what can be done about them, then those of others. */
export function SlicesSection(): React.ReactElement {
  const { trans } = useServices();
  const slices = useAIOS(state => state.slices);
  if (!slices) {
    return <Waiting />;
  }
  const ordered = orderSlices(slices);
  const mine = ordered.filter(slice => slice.mine);
  const others = ordered.filter(slice => !slice.mine);
  return (
    <div className="aios-Slices">
      {mine.length === 0 && (
        <EmptyState code="%aios request --workers 2">
          {trans.__('Each notebook gets a slice of the cluster. Open one, then ask for workers:')}
        </EmptyState>
      )}
      {mine.map(slice => (
        <SliceCard key={slice.id} slice={slice} />
      ))}
      {others.length > 0 && <h3 className="aios-Heading">{trans.__('Others')}</h3>}
      {others.map(slice => (
        <SliceCard key={slice.id} slice={slice} />
      ))}
    </div>
  );
}
