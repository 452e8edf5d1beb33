/**
 * The nonces of the channels of this browser tab. Grafana keeps a buffer as long as a panel of the tab uses its path, so
 * a nonce that was in doubt must not come back when a panel is refreshed or its data source is made anew. Panels with
 * the same rows share theirs, so that the first in doubt renews it for all of them and for no others.
 */
export class Nonces {
  /** The nonces that were renewed, by the channel without them. */
  private readonly nonces = new Map<string, number>();
  /** The channels that queries led to, as far as these have a nonce here. */
  private readonly channels = new Map<string, string>();

  /** The nonce that a query is to be sent with. */
  of(key: string): number {
    return this.nonces.get(this.channels.get(key) ?? '') ?? 0;
  }

  /** Notes the channel that a query led to. */
  met(key: string, channel: string) {
    const rows = withoutNonce(channel);
    if (this.nonces.has(rows)) {
      this.channels.set(key, rows);
    }
  }

  /** Gives the rows of a channel a new nonce, unless another panel has done so since this one was used. */
  renew(key: string, channel: string, used: number) {
    const rows = withoutNonce(channel);
    if ((this.nonces.get(rows) ?? 0) <= used) {
      this.nonces.set(rows, used + 1);
    }
    this.channels.set(key, rows);
  }
}

/** `ds/<uid>/stream/<step>/<window>/<digest>[/<nonce>]` without the last part. */
const withoutNonce = (channel: string) => channel.split('/').slice(0, 6).join('/');

export const nonces = new Nonces();
