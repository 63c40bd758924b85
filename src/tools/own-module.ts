/**
 * Modules of this package that are loaded by their URL: threads, programs, and what is loaded synchronously when it is needed.
 *
 * In a checkout they are stored under their paths. In the published package (`build.ts`) each is an entry of the bundle, stored
 * under its file name beside the bundle that asks for it; `build.ts` finds the names in the calls of these functions.
 */
const IS_SOURCE = import.meta.url?.endsWith('.ts')

/** Applications that use Gatewatch, played by demo and scenarios: not bundled, so that their frames keep their files. */
export const PLAYED_MODULES = /^simulator\/(?:demo|scenarios\/application)\//

/** @param path Path below `src`, without its ending. */
export function ownModule(path: string): URL {
  if (IS_SOURCE) return new URL(`../${path}.ts`, import.meta.url)
  return new URL(`./${PLAYED_MODULES.test(path) ? path : path.slice(path.lastIndexOf('/') + 1)}.js`, import.meta.url)
}

/** Loads a module of this package synchronously. @param path As for `ownModule`. */
export function requireOwn<Module>(path: string): Module {
  // Got here and not imported: the preload is read by any Node, and the version is checked after that.
  const { createRequire } = process.getBuiltinModule('node:module')
  return createRequire(import.meta.url)(process.getBuiltinModule('node:url').fileURLToPath(ownModule(path))) as Module
}

/** URL of the preload, for `--import`. */
export function preloadUrl(): string {
  return new URL(IS_SOURCE ? '../register.ts' : './register.js', import.meta.url).href
}
