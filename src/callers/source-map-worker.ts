/** Reads source maps in a thread of its own: decoding a large one would hold the application up. */
import { parentPort } from 'node:worker_threads'
import { type GeneratedPlace, readOriginals } from './source-map-file.ts'

parentPort?.on('message', ({ id, path, places, mostBytes }: { id: number; path: string; places: GeneratedPlace[]; mostBytes: number }) =>
  parentPort?.postMessage({ id, originals: readOriginals(path, places, mostBytes) }),
)
