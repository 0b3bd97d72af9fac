// What JupyterLab's packages expect of a browser when they load, and jsdom does not have.

class DragEvent extends MouseEvent {}

class ResizeObserver {
  observe(): void {}
  unobserve(): void {}
  disconnect(): void {}
}

function matchMedia(media: string): MediaQueryList {
  const target = new EventTarget();
  return Object.assign(target, {
    media,
    matches: false,
    onchange: null,
    addListener: () => undefined,
    removeListener: () => undefined
  });
}

const requestIdleCallback = (run: () => void): unknown => setTimeout(run, 0);
const cancelIdleCallback = (id: number): void => clearTimeout(id);

Object.assign(globalThis, {
  DragEvent,
  ResizeObserver,
  matchMedia,
  requestIdleCallback,
  cancelIdleCallback
});
