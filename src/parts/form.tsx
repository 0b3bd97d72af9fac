import { Dialog, ReactWidget, showDialog } from '@jupyterlab/apputils';
import * as React from 'react';

import { asProblem } from '../request';
import type { Problem } from '../wire';
import { ProblemNotice } from './Notice';
import { ServicesProvider, type IServices } from './services';

/** The fields of a form: they show a value and tell of each change of it. */
export type Fields<T> = React.FunctionComponent<{ value: T; onChange: (value: T) => void }>;

interface IFormOptions<T> {
  title: string;
  accept: string;
  value: T;
  fields: Fields<T>;
  /** What the form is about, above the fields. */
  about?: string;
  /** Send it. When this rejects, the form opens again with what was typed and what is wrong. */
  submit: (value: T) => Promise<void>;
}

/** Fields that keep what is typed themselves: drawn at once, so that the cursor stays where it is. */
function Filled<T>(props: {
  fields: Fields<T>;
  value: T;
  onChange: (value: T) => void;
}): React.ReactElement {
  const [value, setValue] = React.useState(props.value);
  const change = (typed: T): void => {
    setValue(typed);
    props.onChange(typed);
  };
  return <props.fields value={value} onChange={change} />;
}

class FormBody<T> extends ReactWidget implements Dialog.IBodyWidget<T> {
  constructor(
    private _services: IServices,
    private _options: IFormOptions<T>,
    private _value: T,
    private _problem: Problem | null
  ) {
    super();
    this.addClass('aios-FormBody');
  }

  getValue(): T {
    return this._value;
  }

  protected override render(): React.ReactElement {
    return (
      <ServicesProvider value={this._services}>
        {this._options.about && <p className="aios-Faint">{this._options.about}</p>}
        {this._problem && <ProblemNotice problem={this._problem} />}
        <Filled
          fields={this._options.fields}
          value={this._value}
          onChange={value => {
            this._value = value;
          }}
        />
      </ServicesProvider>
    );
  }
}

/** Ask, send, and ask again while the server refuses. False when the person gave up. */
export async function askForm<T>(services: IServices, options: IFormOptions<T>): Promise<boolean> {
  const { trans } = services;
  let { value } = options;
  let problem: Problem | null = null;
  for (;;) {
    const answer: Dialog.IResult<T> = await showDialog<T>({
      title: options.title,
      body: new FormBody(services, options, value, problem),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.okButton({ label: options.accept })
      ],
      focusNodeSelector: 'input, select'
    });
    if (!answer.button.accept) {
      return false;
    }
    value = answer.value ?? value;
    try {
      await options.submit(value);
      return true;
    } catch (error) {
      problem = asProblem(error);
    }
  }
}
