import * as React from 'react';

import { bytes, count, loadLine, metric } from '../format';
import { CommandIDs } from '../commands';
import { Chip } from '../parts/Chip';
import { useServices } from '../parts/services';
import type { Model, ModelVersion } from '../wire';

/** One registered model and its versions, newest first. */
export function ModelCard(props: {
  model: Model;
  /** The versions that were made while somebody looked on. */
  fresh?: readonly number[];
}): React.ReactElement {
  const { model, fresh = [] } = props;
  return (
    <section className="aios-Card aios-Model" data-name={model.name} aria-label={model.name}>
      <div className="aios-Card-head">
        <span className="aios-Card-name aios-Ellipsis" title={model.name}>
          {model.name}
        </span>
      </div>
      <ul className="aios-Model-versions">
        {model.versions.map(version => (
          <Version
            key={version.version}
            version={version}
            fresh={fresh.includes(version.version)}
          />
        ))}
      </ul>
    </section>
  );
}

/** The metric that says how good a model is: its accuracy, else its first. */
export function headline(metrics: Record<string, number>): [string, number] | null {
  const entries = Object.entries(metrics);
  return entries.find(([name]) => /accuracy/i.test(name)) ?? entries[0] ?? null;
}

function Version(props: { version: ModelVersion; fresh: boolean }): React.ReactElement {
  const { trans, commands } = useServices();
  const { version, fresh } = props;
  const name = trans.__('%1 v%2', version.name, version.version);
  const best = headline(version.metrics);
  const facts = [bytes(version.bytes), trans.__('%1 params', count(version.parameters))];
  if (best) {
    facts.push(`${best[0]} ${metric(best[1])}`);
  }
  const origin =
    version.parent === null
      ? trans.__('original')
      : trans.__('%1 of v%2', version.method ?? trans.__('child'), version.parent);
  const target = { name: version.name, version: version.version };
  return (
    <li
      className={fresh ? 'aios-Model-version aios-mod-fresh' : 'aios-Model-version'}
      data-version={version.version}
    >
      <div className="aios-Model-line">
        <strong>{trans.__('v%1', version.version)}</strong>
        <span className="aios-Faint aios-Ellipsis" title={`${origin} · ${version.digest}`}>
          {origin}
        </span>
        {fresh && <Chip kind="new" label={trans.__('new')} />}
      </div>
      <div className="aios-Model-facts" title={facts.join(' · ')}>
        {facts.join(' · ')}
      </div>
      <div className="aios-Actions">
        <button
          className="jp-mod-styled aios-Button aios-Model-compress"
          aria-label={trans.__('Compress %1 v%2', version.name, version.version)}
          title={
            version.evaluable
              ? trans.__('Make a smaller version of %1 and compare the two', name)
              : trans.__(
                  'Make a smaller version of %1; it has no held-out data to measure it on',
                  name
                )
          }
          onClick={() => void commands.execute(CommandIDs.compress, target)}
        >
          {trans.__('Compress…')}
        </button>
        <button
          className="jp-mod-styled aios-Button aios-Model-copy"
          aria-label={trans.__('Copy the line that loads %1 v%2', version.name, version.version)}
          title={loadLine(version.name, version.version)}
          onClick={() =>
            void commands.execute(CommandIDs.copy, {
              text: loadLine(version.name, version.version)
            })
          }
        >
          {trans.__('Copy load')}
        </button>
      </div>
    </li>
  );
}
