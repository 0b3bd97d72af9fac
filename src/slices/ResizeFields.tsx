import * as React from 'react';

import { useAIOS, useServices } from '../parts/services';
import { projectsOf } from '../state';
import { AmountFields } from './AmountFields';
import type { IClaimForm } from './claim';

/** The fields of a claim: workers, what each of them has, priority, and the project where there are several. */
export function ResizeFields(props: {
  value: IClaimForm;
  onChange: (value: IClaimForm) => void;
}): React.ReactElement {
  const { trans } = useServices();
  const { value, onChange } = props;
  const cluster = useAIOS(state => state.cluster);
  const projects = projectsOf(cluster, value.project);
  return (
    <div className="aios-Form">
      <AmountFields
        amounts={['workers', 'cpus', 'memory', 'gpus']}
        value={value}
        onChange={onChange}
      />
      <label>
        <span>{trans.__('Priority')}</span>
        <select
          className="jp-mod-styled"
          name="priority"
          value={value.priority}
          onChange={event =>
            onChange({ ...value, priority: event.target.value as IClaimForm['priority'] })
          }
        >
          <option value="low">{trans.__('low')}</option>
          <option value="normal">{trans.__('normal')}</option>
          <option value="high">{trans.__('high')}</option>
        </select>
      </label>
      {projects.length > 1 && (
        <label>
          <span>{trans.__('Project')}</span>
          <select
            className="jp-mod-styled"
            name="project"
            value={value.project}
            onChange={event => onChange({ ...value, project: event.target.value })}
          >
            {projects.map(project => (
              <option key={project} value={project}>
                {project}
              </option>
            ))}
          </select>
        </label>
      )}
    </div>
  );
}
