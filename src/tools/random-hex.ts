import { randomFillSync } from 'node:crypto'

const pool = Buffer.alloc(8192)
let poolAt = pool.length

/** Random bytes as hex, drawn many at a time: asking the system costs more than the bytes. */
export function randomHex(bytes: number): string {
  if (poolAt + bytes > pool.length) {
    randomFillSync(pool)
    poolAt = 0
  }
  poolAt += bytes
  return pool.toString('hex', poolAt - bytes, poolAt)
}
