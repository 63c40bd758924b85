/** Makes room in a map that has more than `most` entries: the one that was set first goes. */
export function dropOldest<K>(map: Map<K, unknown> | Set<K>, most: number): void {
  const [oldest] = map.keys()
  if (map.size > most && oldest !== undefined) map.delete(oldest)
}
