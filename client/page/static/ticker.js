/** A worker that ticks: a page that is hidden has timers of one second, its workers do not. */

let timer = 0;

self.addEventListener('message', ({ data: every_ms }) => {
  clearInterval(timer);
  if (every_ms > 0) timer = setInterval(() => self.postMessage(null), every_ms);
});
