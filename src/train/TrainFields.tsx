import * as React from 'react';

import { Choice } from '../parts/Choice';
import { Field } from '../parts/Field';
import { useServices } from '../parts/services';
import { mentions, PRECISIONS, STRATEGIES, trainLine, type ITrainForm } from './magic';

/** How to train a cell, and the line that says so. */
export function trainFields(source: string) {
  return function TrainFields(props: {
    value: ITrainForm;
    onChange: (value: ITrainForm) => void;
  }): React.ReactElement {
    const { trans } = useServices();
    const { value, onChange } = props;
    return (
      <div className="aios-Form aios-Train">
        <Choice
          label={trans.__('Strategy')}
          name="strategy"
          value={value.strategy}
          options={named(value.strategy, STRATEGIES, {
            ddp: trans.__('ddp: every rank has the whole model'),
            fsdp: trans.__('fsdp: the ranks share the model out')
          })}
          onChange={strategy => onChange({ ...value, strategy })}
        />
        <Field
          label={trans.__('Workers')}
          rule={trans.__('A whole number from 1 to 10000, or nothing for all there are.')}
          input={{
            name: 'workers',
            type: 'number',
            min: 1,
            max: 10_000,
            step: 1,
            placeholder: trans.__('all there are')
          }}
          value={value.workers}
          onChange={workers => onChange({ ...value, workers })}
        />
        <Choice
          label={trans.__('Precision')}
          name="precision"
          value={value.precision}
          options={[
            ['', trans.__("as the model's own")],
            ...named(value.precision, PRECISIONS, {
              bf16: trans.__('bf16: mixed, half the memory'),
              fp16: trans.__('fp16: mixed, with scaled gradients')
            })
          ]}
          onChange={precision => onChange({ ...value, precision })}
        />
        <Field
          label={trans.__('Epochs')}
          rule={trans.__('A whole number from 1 up, or nothing to leave it to the function.')}
          input={{
            name: 'epochs',
            type: 'number',
            min: 1,
            step: 1,
            placeholder: trans.__('as the function says')
          }}
          value={value.epochs}
          onChange={epochs => onChange({ ...value, epochs })}
        />
        {value.epochs && !mentions(source, 'epochs') && (
          <p className="aios-Rule" role="alert">
            {trans.__('No function of this cell takes epochs, such as def train(ctx, epochs=3).')}
          </p>
        )}
        <label>
          <span>{trans.__('Detach')}</span>
          <span className="aios-Check">
            <input
              type="checkbox"
              name="detach"
              checked={value.detach}
              onChange={event => onChange({ ...value, detach: event.target.checked })}
            />
            <span>{trans.__('go on when the kernel or the server restarts')}</span>
          </span>
        </label>
        <code className="aios-Train-line" aria-label={trans.__('The line that is written')}>
          {trainLine(source, value)}
        </code>
      </div>
    );
  };
}

/** Choices with their words; one that somebody wrote by hand is among them. */
function named(
  value: string,
  known: readonly string[],
  words: Record<string, string>
): [string, string][] {
  const all = value && !known.includes(value) ? [...known, value] : known;
  return all.map(one => [one, words[one] ?? one]);
}
