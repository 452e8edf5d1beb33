/** Adds the scheme to an address that is only a host with a port. */
export const withScheme = (address: string, scheme: string) =>
  /^[\w.-]+:\d+$|^\[[\da-f:]+\]:\d+$/i.test(address.trim()) ? `${scheme}://${address.trim()}` : address;

/**
 * What is wrong with one of the addresses, and what to do. An address must not hold a password, because everybody who
 * can see the settings sees it.
 */
export function addressError(addresses: string[], schemes: string[], example: string): string | undefined {
  for (const part of addresses) {
    const scheme = /^([a-z]+):\/\/[^/\s]/i.exec(part.trim())?.[1]?.toLowerCase();
    if (!scheme || !schemes.includes(scheme)) {
      return `enter an address such as ${example}, beginning with ${schemes.map((s) => `${s}://`).join(' or ')}`;
    }
    if (/^[a-z]+:\/\/[^/?#]*@/i.test(part.trim())) {
      return 'enter user and password in the fields below, not in the address';
    }
  }
  return undefined;
}
