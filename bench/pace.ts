const EVERY_MS = 10

/** Calls `take` so many times a second, in turns of the loop ten milliseconds apart, for so long. @returns How long it was, in ms. */
export async function pace(
  take: (index: number) => void,
  { eachSecond, forMs }: { readonly eachSecond: number; readonly forMs: number },
): Promise<number> {
  const startedAt = performance.now()
  for (let made = 0; performance.now() - startedAt < forMs; ) {
    const due = ((performance.now() - startedAt) / 1_000) * eachSecond
    for (; made < due; made += 1) take(made)
    await new Promise(resolve => setTimeout(resolve, EVERY_MS))
  }
  return performance.now() - startedAt
}
