/** The greatest of some numbers, however many: `Math.max(...values)` gives up at a hundred thousand. 0 for none. */
export function greatest(values: readonly number[]): number {
  return values.reduce((most, value) => Math.max(most, value), values[0] ?? 0)
}

/** The least of some numbers, however many. 0 for none. */
export function least(values: readonly number[]): number {
  return values.reduce((most, value) => Math.min(most, value), values[0] ?? 0)
}
