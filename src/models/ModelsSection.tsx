import * as React from 'react';

import { EmptyState, Waiting } from '../parts/Notice';
import { useAIOS, useServices } from '../parts/services';
import { isAlive } from '../state';
import { JobCard } from './JobCard';
import { ModelCard } from './ModelCard';

/** What is being done to models, then every model with its versions. */
export function ModelsSection(): React.ReactElement {
  const { trans } = useServices();
  const models = useAIOS(state => state.models);
  const jobs = useAIOS(state => state.jobs);
  const [closed, setClosed] = React.useState<readonly string[]>([]);
  const seen = React.useRef(new Set<string>()); // the jobs that were watched while they ran
  if (!models) {
    return <Waiting />;
  }
  const shown = (jobs ?? []).filter(job => !closed.includes(job.id));
  shown.filter(isAlive).forEach(job => seen.current.add(job.id));
  const made = shown.flatMap(job => (seen.current.has(job.id) && job.report?.version) || []);
  const freshOf = (name: string): number[] =>
    made.filter(version => version.name === name).map(version => version.version);
  return (
    <div className="aios-Models">
      {shown.map(job => (
        <JobCard key={job.id} job={job} onClose={() => setClosed([...closed, job.id])} />
      ))}
      {models.length === 0 ? (
        <EmptyState code={'aios.models.register(model, "digits")'}>
          {trans.__('No models yet. Press Register… on a finished run, or type:')}
        </EmptyState>
      ) : (
        models.map(model => (
          <ModelCard key={model.name} model={model} fresh={freshOf(model.name)} />
        ))
      )}
    </div>
  );
}
