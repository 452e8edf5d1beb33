/** A panel gets at most ten answers a second, because drawing them takes the most time. In milliseconds. */
const PACE = 100;
/**
 * How long answers are collected before they are shown, so that other panels get theirs at the same time. In
 * milliseconds.
 */
const GATHER = 30;

/**
 * Lets all panels of this tab show new rows at the same moment, because Grafana then does most of its work once for all
 * of them, instead of once per panel. The rows of one grid time come within a few milliseconds, whatever their stream.
 */
export class Turns {
  private readonly waiting = new Set<() => void>();
  private last = 0;

  join(show: () => void) {
    if (this.waiting.size === 0) {
      const since = Date.now() - this.last;
      setTimeout(() => this.take(), since >= 0 && since < PACE - GATHER ? PACE - since : GATHER);
    }
    this.waiting.add(show);
  }

  leave(show: () => void) {
    this.waiting.delete(show);
  }

  private take() {
    this.last = Date.now();
    const all = [...this.waiting];
    this.waiting.clear();
    all.forEach((show) => show());
  }
}

export const turns = new Turns();
