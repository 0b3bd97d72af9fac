import * as React from 'react';
import { closeIcon } from '@jupyterlab/ui-components';

import { Progress } from '../parts/Bars';
import { Chip } from '../parts/Chip';
import { Fold } from '../parts/Fold';
import { ProblemNotice } from '../parts/Notice';
import { useServices } from '../parts/services';
import { isAlive } from '../state';
import type { Job } from '../wire';
import { CompressReportView } from './CompressReportView';

/** Work of some seconds that the server does, and what came of it. */
export function JobCard(props: { job: Job; onClose: () => void }): React.ReactElement {
  const { trans } = useServices();
  const { job } = props;
  const running = job.state === 'running';
  const alive = isAlive(job);
  const [watched] = React.useState(alive); // who saw it run wants to see what came of it
  return (
    <section
      className="aios-Card aios-Job"
      data-job-id={job.id}
      data-state={job.state}
      aria-label={job.title}
    >
      <div className="aios-Card-head">
        <span className="aios-Card-name aios-Ellipsis" title={job.title}>
          {job.title}
        </span>
        <Chip kind={job.state} label={job.state} />
        {!alive && (
          <button
            className="aios-Close"
            aria-label={trans.__('Hide the result of %1', job.title)}
            onClick={props.onClose}
          >
            <closeIcon.react tag="span" width="14px" height="14px" />
          </button>
        )}
      </div>
      {running && (
        <Progress
          label={trans.__('Progress of %1', job.title)}
          fraction={job.progress}
          kind="running"
        />
      )}
      {alive && job.note && <p className="aios-Faint">{job.note}</p>}
      {job.problem && <ProblemNotice problem={job.problem} />}
      {job.report && (
        <Fold title={trans.__('Before and after')} open={watched}>
          <CompressReportView report={job.report} />
        </Fold>
      )}
    </section>
  );
}
