/** Numbers and times as people read them. Units are international, so none of this is translated. */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Three significant digits at most, without trailing zeros. */
function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}

/** What is stored or held in memory, in the units of requests: 2000000000 → "2 GB". */
export function bytes(value: number): string {
  let rest = Math.max(0, value);
  let unit = 0;
  // 999.5 would be rounded to 1000: a step up before that
  while (rest >= 999.5 && unit < UNITS.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(rest) : short(rest)} ${UNITS[unit]}`;
}

const MIB = 2 ** 20;

/**
 * Memory as a person would ask for it: "1 GiB" where it is that, else "2 GB".
 *
 * @param value - bytes as the server sends them: whole MiB, raised to the next megabyte
 */
export function memoryText(value: number): string {
  const mebibytes = Math.floor(value / MIB);
  if (mebibytes === 0 || mebibytes % 256 !== 0) {
    return bytes(value);
  }
  return mebibytes < 1024 ? `${mebibytes} MiB` : `${mebibytes / 1024} GiB`;
}

/** What a request takes as memory, as the pattern of an input: 2GB, 512 MiB, 2000000000. */
export const MEMORY = '\\s*(\\d+\\.?\\d*|\\.\\d+)\\s*(([KMGTPkmgtp][Ii]?)?[Bb])?\\s*';

/** A count: 1234567 → "1.23M". */
export function count(value: number): string {
  if (value >= 999_500) {
    return `${short(value / 1e6)}M`;
  }
  if (value >= 10_000) {
    return `${short(value / 1e3)}k`;
  }
  return String(Number(value.toFixed(2)));
}

/** Seconds as "12s", "3m 20s", "2h 5m", "3d 4h". */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) {
    return `${whole}s`;
  }
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) {
    return pair(minutes, 'm', whole % 60, 's');
  }
  const hours = Math.floor(minutes / 60);
  if (hours < 24) {
    return pair(hours, 'h', minutes % 60, 'm');
  }
  return pair(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

/** Energy in joules: 1234567 → "1.23 MJ". */
export function energy(joules: number): string {
  const [size, unit] = joules >= 999_500 ? [1e6, 'MJ'] : joules >= 999.5 ? [1e3, 'kJ'] : [1, 'J'];
  return `${short(joules / size)} ${unit}`;
}

/** A pause, which is mostly short: 0.42 → "0.42s", then as `duration`. */
export function pause(seconds: number): string {
  return seconds < 10 ? `${short(Math.max(0, seconds))}s` : duration(seconds);
}

/**
 * A moment as "14:20", with its day where that is another than today's.
 *
 * @param moment - seconds since the epoch
 * @param now - seconds since the epoch
 */
export function clock(moment: number, now: number): string {
  const there = new Date(moment * 1000);
  const time = there.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false });
  if (there.toDateString() === new Date(now * 1000).toDateString()) {
    return time;
  }
  const day = there.toLocaleDateString([], { weekday: 'short', day: 'numeric', month: 'short' });
  return `${day} ${time}`;
}

function pair(big: number, bigUnit: string, small: number, smallUnit: string): string {
  return small ? `${big}${bigUnit} ${small}${smallUnit}` : `${big}${bigUnit}`;
}

/** A metric: four significant digits, or an exponent when very small or large. JSON has null for NaN. */
export function metric(value: number | null): string {
  if (value === null || Number.isNaN(value)) {
    return 'NaN';
  }
  if (!Number.isFinite(value)) {
    return value > 0 ? '∞' : '−∞';
  }
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
    return value.toExponential(2);
  }
  return String(Number(value.toPrecision(4)));
}

/** A rate a second: 0.25 → "0.25/s". */
export function rate(value: number): string {
  return `${value >= 100 ? Math.round(value) : short(value)}/s`;
}

/** A change from one amount to another: 100 → 25 is "−75%"; empty where there is no base. */
export function change(before: number, after: number): string {
  if (before === 0) {
    return '';
  }
  const percent = Math.round((after / before - 1) * 100);
  return percent < 0 ? `−${-percent}%` : percent > 0 ? `+${percent}%` : '±0%';
}

/** A share as a whole percentage, 0 to 100, of what may be no number. */
export function percent(part: number, whole: number): number {
  return whole > 0 ? Math.min(100, Math.max(0, (part / whole) * 100)) : 0;
}

/** What the registry takes as a name, as the pattern of an input. */
export const MODEL_NAME = '[A-Za-z0-9][A-Za-z0-9 ._\\-]*';

/** A name that the registry takes, made of any text: letters, digits, `. _ -`; "model" when nothing is left. */
export function modelName(text: string): string {
  const clean = text
    .trim()
    .replace(/[^A-Za-z0-9 ._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 128);
  return clean.trim() || 'model';
}

/** The last part of a path. */
export function basename(path: string): string {
  return path.split('/').filter(Boolean).pop() ?? path;
}

/** What to type to load a version. */
export function loadLine(name: string, version: number): string {
  return `aios.models.load(${JSON.stringify(name)}, ${version})`;
}
