import * as React from 'react';

import { Choice } from '../parts/Choice';
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
      <Choice
        label={trans.__('Priority')}
        name="priority"
        value={value.priority}
        options={[
          ['low', trans.__('low')],
          ['normal', trans.__('normal')],
          ['high', trans.__('high')]
        ]}
        onChange={priority => onChange({ ...value, priority })}
      />
      {projects.length > 1 && (
        <Choice
          label={trans.__('Project')}
          name="project"
          value={value.project}
          options={projects.map(project => [project, project])}
          onChange={project => onChange({ ...value, project })}
        />
      )}
    </div>
  );
}
