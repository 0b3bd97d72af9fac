import * as React from 'react';

import { basename, bytes, count, percent } from '../format';
import { CommandIDs } from '../commands';
import { Gauge } from '../parts/Bars';
import { Chip } from '../parts/Chip';
import { Fold } from '../parts/Fold';
import { useServices } from '../parts/services';
import { waitingFor } from '../state';
import type { Slice } from '../wire';
import { SliceForecast } from './Forecast';
import { WhatIfForm } from './WhatIf';
import { Workers } from './Workers';

/** One slice: whose it is, how big, in what state and why, what it uses. */
export function SliceCard(props: {
  slice: Slice;
  /** Whether it is that of the notebook in front. */
  current?: boolean;
}): React.ReactElement {
  const { trans } = useServices();
  const { slice, current = false } = props;
  return (
    <section
      className={current ? 'aios-Card aios-Slice aios-mod-current' : 'aios-Card aios-Slice'}
      aria-current={current || undefined}
      data-slice-id={slice.id}
      data-state={slice.state}
      data-dormant={slice.dormant || undefined}
      data-parked={slice.parked || undefined}
      data-workers={slice.workers}
      data-target={slice.target}
      data-kernel-id={slice.kernel_id ?? undefined}
      aria-label={slice.name || slice.user}
    >
      <Head slice={slice} />
      <Workers slice={slice} />
      {slice.reason && <p className="aios-Slice-reason">{slice.reason}</p>}
      {slice.mine && waitingFor(slice) > 0 && <SliceForecast slice={slice} />}
      {slice.problem && (
        <p className="aios-Slice-problem" aria-live="polite">
          {slice.problem}
        </p>
      )}
      {slice.workers > 0 && <Use slice={slice} />}
      {slice.kernel_gpu_memory > 0 && <KernelMemory slice={slice} />}
      {slice.mine && (
        <Fold title={trans.__('What if…')} open={false}>
          <WhatIfForm slice={slice} />
        </Fold>
      )}
      {slice.mine && <Actions slice={slice} />}
    </section>
  );
}

function Head(props: { slice: Slice }): React.ReactElement {
  const { trans } = useServices();
  const { slice } = props;
  const name = slice.name ? basename(slice.name) : slice.user;
  const owner = slice.project ? `${slice.user} · ${slice.project}` : slice.user;
  return (
    <>
      <div className="aios-Card-head">
        <span className="aios-Card-name aios-Ellipsis" title={slice.name || slice.user}>
          {name}
        </span>
        {slice.busy && (
          <Chip
            kind="busy"
            label={trans.__('training')}
            title={trans.__('A run is training on it: it keeps its workers.')}
          />
        )}
        <State slice={slice} />
      </div>
      <div className="aios-Slice-owner aios-Faint aios-Ellipsis" title={owner}>
        {owner}
      </div>
    </>
  );
}

function State(props: { slice: Slice }): React.ReactElement {
  const { trans } = useServices();
  const { slice } = props;
  if (slice.dormant) {
    return (
      <Chip
        kind="asleep"
        label={trans.__('asleep')}
        title={trans.__('It holds nothing until it is first used.')}
      />
    );
  }
  if (slice.parked) {
    return (
      <Chip
        kind="parked"
        label={trans.__('parked')}
        title={trans.__('It did nothing and its workers were lent: run a cell and they come back.')}
      />
    );
  }
  return <Chip kind={slice.state} label={slice.state} />;
}

function Use(props: { slice: Slice }): React.ReactElement {
  const { trans } = useServices();
  const { slice } = props;
  const held = slice.unit.memory * slice.workers;
  const used = slice.memory_used ?? null;
  const cpu = slice.cpu_percent ?? null;
  return (
    <div className="aios-Slice-use">
      {cpu !== null && (
        <Gauge
          label={trans.__('CPU')}
          text={`${Math.round(cpu)}%`}
          percent={cpu}
          title={trans.__(
            'Use of the %1 CPU threads it holds',
            count(slice.unit.cpus * slice.workers)
          )}
        />
      )}
      {used !== null && (
        <Gauge
          label={trans.__('Mem')}
          text={bytes(used)}
          percent={percent(used, held)}
          title={trans.__('%1 used of the %2 it holds', bytes(used), bytes(held))}
        />
      )}
    </div>
  );
}

/** What the notebook's kernel itself holds of GPUs, which nobody can take from it. */
function KernelMemory(props: { slice: Slice }): React.ReactElement {
  const { trans, commands } = useServices();
  const { slice } = props;
  const name = slice.name || slice.user;
  return (
    <>
      {slice.asked_to_free && (
        <p className="aios-Slice-problem" role="status">
          {slice.asked_to_free}
        </p>
      )}
      <div className="aios-Actions aios-Slice-kernelMemory">
        <span className="aios-Faint">
          {trans.__('Its kernel holds %1 of GPU memory', bytes(slice.kernel_gpu_memory))}
        </span>
        <button
          className="jp-mod-styled aios-Button aios-Slice-askToFree"
          aria-label={trans.__('Ask to free the GPU memory of the kernel of %1', name)}
          title={trans.__('Its owner reads it in the notebook')}
          onClick={() => void commands.execute(CommandIDs.askToFree, { slice: slice.id })}
        >
          {trans.__('Ask to free it')}
        </button>
      </div>
    </>
  );
}

function Actions(props: { slice: Slice }): React.ReactElement {
  const { trans, commands, model } = useServices();
  const { slice } = props;
  const args = { slice: slice.id };
  const name = slice.name || slice.user;
  return (
    <div className="aios-Actions">
      {slice.dashboard && (
        <a
          className="aios-Link aios-Slice-dashboard"
          href={model.url(slice.dashboard)}
          target="_blank"
          rel="noopener"
          aria-label={trans.__('Dask dashboard of the slice of %1, in a new tab', name)}
          title={trans.__('What its Dask cluster does now, in a new tab')}
        >
          {trans.__('Dashboard')}
        </a>
      )}
      <button
        className="jp-mod-styled aios-Button aios-Slice-resize"
        aria-label={trans.__('Resize the slice of %1', name)}
        onClick={() => void commands.execute(CommandIDs.resize, args)}
      >
        {trans.__('Resize…')}
      </button>
      <button
        className="jp-mod-styled aios-Button aios-Slice-release"
        aria-label={trans.__('Release the slice of %1', name)}
        title={trans.__('Give its workers back; the notebook keeps running')}
        disabled={slice.dormant}
        onClick={() => void commands.execute(CommandIDs.release, args)}
      >
        {trans.__('Release')}
      </button>
    </div>
  );
}
