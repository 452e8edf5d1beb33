/** Drawing is what costs: a panel gets no more than ten answers a second, */
const PACE = 100;
/** and none before what others may get at the same time had so long to come. In milliseconds. */
const GATHER = 30;

/**
 * When the panels of this tab show what has come: all together, because Grafana's work on one panel is mostly done for
 * several at once. The rows of one grid time come within a few milliseconds, whatever stream they are of.
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
