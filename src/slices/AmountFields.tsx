import * as React from 'react';

import { MEMORY } from '../format';
import { Field } from '../parts/Field';
import { useServices } from '../parts/services';
import type { IClaimForm } from './claim';

type Amount = 'workers' | 'cpus' | 'memory' | 'gpus';

/** How many workers a claim asks for, and what each of them has. */
export function AmountFields(props: {
  /** Which amounts, in the order in which they are drawn. */
  amounts: readonly Amount[];
  value: IClaimForm;
  onChange: (value: IClaimForm) => void;
}): React.ReactElement {
  const { trans } = useServices();
  const { amounts, value, onChange } = props;
  const about = {
    workers: {
      label: trans.__('Workers'),
      rule: trans.__('A whole number from 1 to 10000.'),
      input: { type: 'number', min: 1, max: 10_000, step: 1 }
    },
    cpus: {
      label: trans.__('CPUs each'),
      rule: trans.__('A number above 0, such as 1 or 0.5.'),
      input: { type: 'number', min: 0.1, step: 'any' }
    },
    memory: {
      label: trans.__('Memory each'),
      rule: trans.__('An amount such as 2GB or 512MiB.'),
      input: { type: 'text', pattern: MEMORY, placeholder: trans.__('such as 2GB') }
    },
    gpus: {
      label: trans.__('GPUs each'),
      rule: trans.__('0 or a number above it, such as 1 or 0.5.'),
      input: { type: 'number', min: 0, step: 'any' }
    }
  };
  return (
    <>
      {amounts.map(name => (
        <Field
          key={name}
          label={about[name].label}
          rule={about[name].rule}
          input={{ name, ...about[name].input }}
          value={value[name]}
          onChange={text => onChange({ ...value, [name]: text })}
        />
      ))}
    </>
  );
}
