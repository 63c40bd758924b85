/** Says whether a token request may go to `url`: TLS, or plain HTTP that does not leave the machine. */
export function isTokenUrlSafe(url: string): boolean {
  if (!URL.canParse(url)) return false
  const { protocol } = new URL(url)
  return protocol === 'https:' || (protocol === 'http:' && isLoopbackUrl(url))
}

/** Says whether `url` leads to this machine and nowhere else. */
export function isLoopbackUrl(url: string): boolean {
  const { hostname } = new URL(url)
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(hostname)
}
