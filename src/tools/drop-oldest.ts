/** Makes room in a map that has more than `most` entries: the one that was set first goes. */
export function dropOldest<K>(map: Map<K, unknown> | Set<K>, most: number): void {
  const [oldest] = map.keys()
  if (map.size > most && oldest !== undefined) map.delete(oldest)
}

/** Sets an entry as the newest of `most`: the last one that `dropOldest` takes. */
export function setNewest<K, V>(map: Map<K, V>, key: K, value: V, most: number): void {
  map.delete(key)
  map.set(key, value)
  dropOldest(map, most)
}
