import type { Settings } from '../options.ts'

/** Stands for one of the gateway's keys in an address that is printed: a key itself is never printed. */
const KEY_PLACE = '<key>'

/** Where a gateway listens, and whether its clients must show a key. */
export type ListenAddress = Pick<Settings['listen'], 'host' | 'port' | 'keysEnv'>

/** The address of a listening gateway. */
export function listenUrl({ host, port }: Pick<ListenAddress, 'host' | 'port'>): string {
  return `http://${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port}`
}

/**
 * The token URL that a client of the token endpoint gate is given.
 *
 * @param base Address of the gateway.
 * @param provider Id of a provider, or what stands for one.
 */
export function tokenGateUrl(base: string, provider: string, { keysEnv }: Pick<ListenAddress, 'keysEnv'>): string {
  return `${base}/oauth/${provider}/token${keysEnv === undefined ? '' : `/${KEY_PLACE}`}`
}

/** What to put in the place of the key; empty where there is none. */
export function keyPlaceNote({ keysEnv }: Pick<ListenAddress, 'keysEnv'>): string {
  return keysEnv === undefined ? '' : ` (${KEY_PLACE}: one of the keys in ${keysEnv}, percent-encoded)`
}
