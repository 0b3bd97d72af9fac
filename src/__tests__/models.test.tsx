import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as React from 'react';

import { CommandIDs } from '../commands';
import { compressRequestOf } from '../models/CompressFields';
import { CompressReportView, compareMetrics } from '../models/CompressReportView';
import { ModelsSection } from '../models/ModelsSection';
import { headline } from '../models/ModelCard';
import { Drawing } from './drawing';
import { job, model, report } from './samples';

let page: Drawing;
beforeEach(() => {
  page = new Drawing();
  page.happen(() => void page.model.watch(['models', 'jobs']));
});
afterEach(() => page.close());

describe('ModelsSection', () => {
  it('teaches how to get a model', () => {
    page.draw(<ModelsSection />);
    page.receive('models', []);
    expect(page.node.textContent).toContain('Register…');
  });

  it('shows versions with what can be done about them', () => {
    page.draw(<ModelsSection />);
    page.receive('models', [model()]);
    const version = page.find(
      '.aios-Model[data-name=digits] .aios-Model-version[data-version="2"]'
    );
    expect(version.textContent).toContain('low_rank of v1');
    expect(version.textContent).toContain('100 kB · 25k params · accuracy 0.97');
    const compressed = page.record(CommandIDs.compress);
    const copied = page.record(CommandIDs.copy);
    page.click('.aios-Model-compress');
    page.click('.aios-Model-copy');
    expect(compressed).toEqual([{ name: 'digits', version: 2 }]);
    expect(copied).toEqual([{ text: 'aios.models.load("digits", 2)' }]);
  });

  it('follows a job to its report, which can be put away', () => {
    page.draw(<ModelsSection />);
    page.receive('models', [model()]);
    page.receive('jobs', [job()]);
    expect(page.find('[role=progressbar]').getAttribute('aria-valuenow')).toBe('40');
    page.receive('jobs', [job({ state: 'finished', progress: 1, report: report() })]);
    expect(page.find('.aios-Compress-report').textContent).toContain('accuracy');
    page.click('.aios-Close');
    expect(page.node.querySelector('.aios-Job')).toBeNull();
  });

  it('marks the version that a job made, until its result is put away', () => {
    page.draw(<ModelsSection />);
    page.receive('models', [model()]);
    page.receive('jobs', [job({ id: 'old', state: 'finished', report: report() })]);
    expect(page.node.querySelector('.aios-Chip.aios-mod-new')).toBeNull();
    page.receive('jobs', [job()]);
    page.receive('jobs', [job({ state: 'finished', progress: 1, report: report() })]);
    expect(page.find('[data-version="2"].aios-mod-fresh .aios-Chip').textContent).toBe('new');
    page.click('.aios-Close');
    expect(page.node.querySelector('.aios-mod-fresh')).toBeNull();
  });

  it('says why a job failed', () => {
    page.draw(<ModelsSection />);
    page.receive('models', []);
    const problem = { message: 'No layer can be made smaller.', reason: 'x', hint: 'Keep less.' };
    page.receive('jobs', [job({ state: 'failed', problem })]);
    expect(page.find('.aios-Problem').textContent).toContain('Keep less.');
  });
});

describe('CompressReportView', () => {
  it('compares bytes, parameters and the metrics measured on both sides', () => {
    page.draw(<CompressReportView report={report()} />);
    const rows = [...page.node.querySelectorAll('tbody tr')].map(row =>
      [...row.children].map(cell => cell.textContent)
    );
    expect(rows).toEqual([
      ['size', '400 kB', '100 kB', '−75%'],
      ['params', '100k', '25k', '−75%'],
      ['accuracy', '0.98', '0.97', '−0.01']
    ]);
    expect(compareMetrics(report())).toHaveLength(1);
  });
});

describe('small parts', () => {
  it('names the metric that counts', () => {
    expect(headline({ loss: 1, test_accuracy: 0.9 })).toEqual(['test_accuracy', 0.9]);
    expect(headline({ loss: 1 })).toEqual(['loss', 1]);
    expect(headline({})).toBeNull();
  });

  it('asks by the measure that was chosen', () => {
    const form = { energy: 90, ratio: 50 };
    expect(compressRequestOf({ by: 'energy', ...form })).toEqual({
      method: 'low_rank',
      energy: 0.9
    });
    expect(compressRequestOf({ by: 'ratio', ...form })).toEqual({ method: 'low_rank', ratio: 0.5 });
  });
});
