import { askForm } from '../parts/form';
import { tellHint } from '../parts/tell';
import { edit, otherMagic, readLine, type ITrainForm } from '../train/magic';
import { trainFields } from '../train/TrainFields';
import type { IActionContext } from './context';

/** Ask how to train the active cell, and write the line that does it at its head. */
export async function trainCell({ services, notebooks }: IActionContext): Promise<void> {
  const { trans } = services;
  const cell = notebooks?.activeCell;
  if (cell?.model.type !== 'code') {
    tellHint(trans.__('Choose a code cell first: the one with the function to train.'));
    return;
  }
  const { sharedModel } = cell.model;
  const source = sharedModel.getSource();
  const magic = otherMagic(source);
  if (magic) {
    tellHint(trans.__('This cell begins with %1: take that away to train it.', magic));
    return;
  }
  const written = await askForm<ITrainForm>(services, {
    title: trans.__('Train on slice'),
    accept: trans.__('Write line'),
    about: trans.__('This writes a line at the head of the cell. Run the cell to train.'),
    value: readLine(source),
    fields: trainFields(source),
    submit: async form => {
      const { start, end, text } = edit(sharedModel.getSource(), form);
      sharedModel.updateSource(start, end, text);
    }
  });
  if (written && !cell.isDisposed) {
    notebooks?.currentWidget?.content.activate();
  }
}
