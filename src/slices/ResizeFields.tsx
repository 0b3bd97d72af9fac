import * as React from 'react';

import { MEMORY, memoryText } from '../format';
import { Field } from '../parts/Field';
import { useAIOS, useServices } from '../parts/services';
import { projectsOf } from '../state';
import type { ClaimRequest, Slice } from '../wire';

export type Priority = Slice['priority'];

/** What a person types; texts, so that nothing is lost while typing. */
export interface IClaimForm {
  workers: string;
  cpus: string;
  memory: string;
  gpus: string;
  priority: Priority;
  project: string;
}

export function formOf(slice: Slice): IClaimForm {
  return {
    workers: String(slice.max_workers),
    cpus: String(slice.unit.cpus),
    memory: memoryText(slice.unit.memory),
    gpus: String(slice.unit.gpus),
    priority: slice.priority,
    project: slice.project
  };
}

/** The request that a form makes: only what was changed, so that rounding in the form changes nothing. */
export function requestOf(form: IClaimForm, before: IClaimForm): ClaimRequest {
  const request: ClaimRequest = { workers: numberOf(form.workers, before.workers) };
  if (form.cpus !== before.cpus) {
    request.cpus = numberOf(form.cpus, before.cpus);
  }
  if (form.memory.trim() && form.memory !== before.memory) {
    request.memory = form.memory.trim();
  }
  if (form.gpus !== before.gpus) {
    request.gpus = numberOf(form.gpus, before.gpus);
  }
  if (form.priority !== before.priority) {
    request.priority = form.priority;
  }
  if (form.project !== before.project) {
    request.project = form.project;
  }
  return request;
}

function numberOf(text: string, fallback: string): number {
  return Number(text.trim() === '' ? fallback : text);
}

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
      <Field
        label={trans.__('Workers')}
        rule={trans.__('A whole number from 1 to 10000.')}
        input={{ name: 'workers', type: 'number', min: 1, max: 10_000, step: 1 }}
        value={value.workers}
        onChange={workers => onChange({ ...value, workers })}
      />
      <Field
        label={trans.__('CPUs each')}
        rule={trans.__('A number above 0, such as 1 or 0.5.')}
        input={{ name: 'cpus', type: 'number', min: 0.001, step: 'any' }}
        value={value.cpus}
        onChange={cpus => onChange({ ...value, cpus })}
      />
      <Field
        label={trans.__('Memory each')}
        rule={trans.__('An amount such as 2GB or 512MiB.')}
        input={{
          name: 'memory',
          type: 'text',
          pattern: MEMORY,
          placeholder: trans.__('such as 2GB')
        }}
        value={value.memory}
        onChange={memory => onChange({ ...value, memory })}
      />
      <Field
        label={trans.__('GPUs each')}
        rule={trans.__('0 or a number above it, such as 1 or 0.5.')}
        input={{ name: 'gpus', type: 'number', min: 0, step: 'any' }}
        value={value.gpus}
        onChange={gpus => onChange({ ...value, gpus })}
      />
      <label>
        <span>{trans.__('Priority')}</span>
        <select
          className="jp-mod-styled"
          name="priority"
          value={value.priority}
          onChange={event => onChange({ ...value, priority: event.target.value as Priority })}
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
