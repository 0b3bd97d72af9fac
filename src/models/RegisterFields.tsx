import * as React from 'react';

import { MODEL_NAME } from '../format';
import { Field } from '../parts/Field';
import { useServices } from '../parts/services';

/** The name under which a model is registered. */
export function RegisterFields(props: {
  value: string;
  onChange: (value: string) => void;
}): React.ReactElement {
  const { trans } = useServices();
  return (
    <div className="aios-Form">
      <Field
        label={trans.__('Name')}
        rule={trans.__(
          'A name has letters A to Z, digits, spaces and . _ - in it, and begins with a letter or a digit.'
        )}
        input={{ name: 'name', type: 'text', required: true, maxLength: 128, pattern: MODEL_NAME }}
        value={props.value}
        onChange={props.onChange}
      />
      <p className="aios-Faint">{trans.__('A name that is taken gets a new version.')}</p>
    </div>
  );
}
