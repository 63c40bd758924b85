const SHORTEST_PAUSE_MS = 2
const LONGEST_PAUSE_MS = 15

/** How long to wait for another process that writes just now, in ms. @param tries Tries before this one that met it. */
export function pauseAfter(tries: number): number {
  return Math.min(SHORTEST_PAUSE_MS * 2 ** tries, LONGEST_PAUSE_MS) * (0.5 + Math.random())
}
