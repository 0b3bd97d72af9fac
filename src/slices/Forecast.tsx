import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { clock, percent } from '../format';
import { asProblem } from '../request';
import { useServices } from '../parts/services';
import type { Forecast, Slice } from '../wire';

/** After this many milliseconds a forecast is asked for anew, though nothing changed but the time. */
const AGAIN_AFTER = 30_000;

/** When a slice that waits gets more, or why nobody can tell. Asked for while it is in sight. */
export function SliceForecast(props: { slice: Slice }): React.ReactElement {
  const { model, trans } = useServices();
  const { id, reason, target, max_workers: most } = props.slice;
  const [told, setTold] = React.useState<Forecast | null>(null);
  const [problem, setProblem] = React.useState('');
  React.useEffect(() => {
    let over = false;
    const ask = async (): Promise<void> => {
      if (document.hidden) {
        return;
      }
      try {
        const forecast = await model.forecast(id);
        if (!over) {
          setTold(forecast);
          setProblem('');
        }
      } catch (error) {
        if (!over) {
          setProblem(asProblem(error).message);
        }
      }
    };
    void ask();
    const timer = setInterval(() => void ask(), AGAIN_AFTER);
    return () => {
      over = true;
      clearInterval(timer);
    };
  }, [model, id, reason, target, most]);
  if (problem) {
    return <p className="aios-Forecast aios-Faint">{problem}</p>;
  }
  return (
    <div className="aios-Forecast" data-state={told?.state ?? 'asked'} aria-live="polite">
      {told ? <When forecast={told} /> : <p className="aios-Faint">{trans.__('Asking when…')}</p>}
    </div>
  );
}

/** A forecast: a sentence, and where it is a time, how sure it is. */
export function When(props: { forecast: Forecast }): React.ReactElement {
  const { trans } = useServices();
  const { forecast } = props;
  return (
    <>
      <p
        className={
          forecast.state === 'expected' || forecast.state === 'now'
            ? 'aios-Forecast-when'
            : 'aios-Faint'
        }
        title={forecast.basis}
      >
        {whenText(forecast, trans)}
      </p>
      {forecast.state === 'expected' && forecast.start !== null && <Range forecast={forecast} />}
    </>
  );
}

/** "starts about 14:20 (14:05–14:50)", or "gets more about…" of what has some; or why there is no such time. */
export function whenText(forecast: Forecast, trans: TranslationBundle): string {
  const { state, early, start, late, made, grows } = forecast;
  switch (state) {
    case 'now':
      return grows ? trans.__('gets more now') : trans.__('starts now');
    case 'never':
      return trans.__('no wait can fulfil it');
    case 'unknown':
      return trans.__('No forecast yet, %1', forecast.basis);
  }
  if (start === null) {
    return grows
      ? trans.__('gets more in more than a month, if nothing changes')
      : trans.__('starts in more than a month, if nothing changes');
  }
  const about = clock(start, made);
  const from = clock(early ?? start, made);
  const to = late === null ? trans.__('more than a month') : clock(late, made);
  const when = from === to ? about : trans.__('%1 (%2–%3)', about, from, to);
  return grows ? trans.__('gets more about %1', when) : trans.__('starts about %1', when);
}

/** The interval between now and its end: where it begins, and its middle. The sentence above says it too. */
function Range(props: { forecast: Forecast }): React.ReactElement {
  const { trans } = useServices();
  const { made, early, start, late } = props.forecast;
  const middle = start ?? made;
  const end = late ?? middle + (middle - (early ?? made)) * 2;
  const place = (moment: number): number => percent(moment - made, end - made);
  const from = place(early ?? middle);
  return (
    <div
      className={late === null ? 'aios-Range aios-mod-open' : 'aios-Range'}
      role="img"
      aria-label={trans.__(
        'From now to %1: it starts in this interval eight times of ten, half of them before the mark',
        late === null ? trans.__('more than a month') : clock(late, made)
      )}
    >
      <span className="aios-Range-span" style={{ left: `${from}%`, width: `${100 - from}%` }} />
      <span className="aios-Range-middle" style={{ left: `${place(middle)}%` }} />
    </div>
  );
}
