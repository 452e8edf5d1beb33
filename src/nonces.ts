/**
 * The nonces of this browser tab's channels. Grafana keeps the buffer of a path while any panel of the tab uses the
 * path. So a nonce whose buffer was in doubt must not be used again when a panel is refreshed, or when Grafana makes
 * the data source anew. Panels with the same rows share a nonce: the first panel in doubt renews it for all of them,
 * and for no others.
 */
export class Nonces {
  /** The renewed nonces, by channel without nonce. */
  private readonly nonces = new Map<string, number>();
  /** The channel of each query by its key, if `nonces` has a nonce for the channel. */
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
