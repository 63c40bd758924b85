const MOST = 500
/** A longer one is particular to its request. */
const LONGEST_PATH = 120

/** URLs put together from origin and path: a process asks the same few all the time, and parsing one costs microseconds. */
export class RecentUrls {
  readonly #byOrigin = new Map<string, Map<string, URL>>()
  #size = 0

  /** @param path May be a whole URL, as proxies are asked. @throws {TypeError} when they make no URL. */
  of(origin: string, path: string): Readonly<URL> {
    const known = this.#byOrigin.get(origin)?.get(path)
    if (known) return known
    const url = new URL(path, origin)
    if (path.length <= LONGEST_PATH) this.#keep(origin, path, url)
    return url
  }

  #keep(origin: string, path: string, url: URL): void {
    if (this.#size >= MOST) {
      this.#byOrigin.clear()
      this.#size = 0
    }
    this.#size += 1
    const ofOrigin = this.#byOrigin.get(origin)
    if (ofOrigin) ofOrigin.set(path, url)
    else this.#byOrigin.set(origin, new Map([[path, url]]))
  }
}
