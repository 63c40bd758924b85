import { execFile } from 'node:child_process'
import { chmodSync, existsSync, globSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { builtinModules, isBuiltin } from 'node:module'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { build, type ImportKind, type Metafile, type Plugin } from 'esbuild'
import { bundlePage } from './src/ops/bundle-page.ts'
import { PLAYED_MODULES } from './src/tools/own-module.ts'

/**
 * Writes what the package ships to `dist`, or to the folder that is named: `node build.ts [folder] [--no-types]`.
 *
 * - `dist/*.js`: the doors of the library, the preload and the command, with what they share as chunks.
 * - `dist/page/`: the ops page. `dist/types/`: declarations of the doors and of what they name.
 *
 * Packages are bundled, so that an installation brings none; `@opentelemetry/api` is the host's.
 */
const ROOT = import.meta.dirname
const SOURCES = join(ROOT, 'src')
const DOORS = ['index', 'express', 'gateway', 'register', 'store']
const COMMAND = 'cli/main'
/**
 * What is loaded together when a process starts. The preload and the command look at the version of Node before they load more, which
 * one that is too old could not read. `watch-delivery` is what a watched process loads with its first event: no chunk of it may import the
 * API of OpenTelemetry.
 */
const STARTS = [
  ['index'],
  ['gatewatch/gatewatch'],
  ['store'],
  ['register'],
  ['watch/start-watch'],
  ['watch/watch-delivery'],
  [COMMAND],
  ['cli/program', 'cli/run'],
]
/** A file costs a start about as much as this many bytes that it reads and does not need. */
const FEW_BYTES = 8_192
const API = '@opentelemetry/api'
/** A call that loads a module of ours by its URL; see `src/tools/own-module.ts`. */
const LOADS = /\b(?:ownModule|startQuietThread|requireOwn(?:<.*>)?)\(\s*'([\w/-]+)'/g
const BUILTIN_IMPORT = /^import (?!type )(?:(?:\* as )?(\w+))?(?:, )?(?:\{([^}]*)\})? from ['"]node:([\w/]+)['"];?/gm
/** Instrumentations of an application patch these when they are imported. */
const INSTRUMENTED = /^(?:https?|http2)$/
/** Its functions are looked up when they are called: to load it takes seven milliseconds, and few processes that start use it. */
const LOADED_LATER = 'crypto'
const FORMAT = { format: 'esm', platform: 'node', target: 'node22.22', logLevel: 'warning', legalComments: 'none' } as const
/** Node prints the line of an error that is not caught. */
const LONGEST_LINE = 160
const SMALL = { minifySyntax: true, minifyWhitespace: true, lineLimit: LONGEST_LINE } as const
const RUN = promisify(execFile)

const { values, positionals } = parseArgs({ allowPositionals: true, options: { 'no-types': { type: 'boolean', default: false } } })
const dist = resolve(ROOT, positionals[0] ?? 'dist')

rmSync(dist, { recursive: true, force: true })
const loaded = modulesLoadedByUrl().filter(path => !isPlayed(path))
const written = await Promise.all([
  bundle([...DOORS, COMMAND, ...loaded.filter(path => !isThread(path))], mergeChunks),
  ...loaded.filter(isThread).map(path => bundle([path])),
  writePlayed(),
  writePage(join(dist, 'page')),
  values['no-types'] ? [] : writeTypes(join(dist, 'types')),
])
// npm sets it when it links the command, and not when the command is built again.
chmodSync(join(dist, 'main.js'), 0o755)
writeFileSync(join(dist, 'THIRD-PARTY-LICENSES.txt'), licencesOf(written.flat()))

function modulesLoadedByUrl(): string[] {
  const texts = globSync('**/*.ts', { cwd: SOURCES }).map(file => readFileSync(join(SOURCES, file), 'utf8'))
  return [...new Set(texts.flatMap(text => Array.from(text.matchAll(LOADS), ([, path = '']) => path)))].sort()
}

/** A thread shares no state with the process: its bundle is one file. */
function isThread(path: string): boolean {
  return path.endsWith('-worker')
}

/** @returns Paths of all sources. */
async function bundle(
  entries: readonly string[],
  merge?: (files: Map<string, string>, metafile: Metafile) => Promise<Map<string, string>>,
) {
  const { metafile, outputFiles } = await build({
    ...FORMAT,
    ...SMALL,
    entryPoints: entries.map(path => join(SOURCES, `${path}.ts`)),
    outdir: dist,
    entryNames: '[name]',
    chunkNames: 'chunk-[hash]',
    bundle: true,
    splitting: merge !== undefined,
    write: false,
    metafile: true,
    absWorkingDir: ROOT,
    external: [API],
    plugins: [requiredBuiltins(), importedBuiltins(), played(), namedImports()],
  })
  const files = new Map(outputFiles.map(({ path, text }) => [basename(path), text]))
  mkdirSync(dist, { recursive: true })
  for (const [name, text] of (await merge?.(files, metafile)) ?? files) writeFileSync(join(dist, name), text)
  return Object.keys(metafile.inputs)
}

/**
 * Merges chunks that are loaded together. esbuild makes a chunk of what the same set of entries reaches, and each module that is
 * imported later is an entry: one start would load some thirty files, at a millisecond each. Chunks that the same starts load become one.
 */
async function mergeChunks(files: Map<string, string>, { outputs }: Metafile): Promise<Map<string, string>> {
  const starts = STARTS.map(sources => reachedFrom(sources, outputs))
  const groups = Map.groupBy(Object.keys(outputs), path => {
    const loadedBy = starts.map(reached => Number(reached.has(path))).join('')
    return isChunk(path) && loadedBy.includes('1') ? loadedBy : path
  })
  joinSmallGroups(groups, files)
  const fileOf = new Map<string, string>()
  for (const [first = '', ...others] of groups.values()) for (const path of [first, ...others]) fileOf.set(basename(path), basename(first))
  const merged = Array.from(groups.values(), async (paths): Promise<[string, string]> => {
    const names = paths.map(path => basename(path))
    const exported = new Set(paths.flatMap(path => outputs[path]?.exports ?? []))
    const { text, exports } = await mergedFile(names, files, fileOf)
    // What two files export under one name, a file that is made of both does not export at all.
    if (exports.length < exported.size) throw new Error(`chunks that are merged export a name twice: ${paths}`)
    return [names[0] ?? '', text]
  })
  return new Map(await Promise.all(merged))
}

/**
 * Moves a group of few bytes to one that the same starts load, and others too: those read some bytes more, and the first ones a file
 * less. The preload and the command get nothing that they would load before they know the version of Node, and `watch-delivery`
 * nothing that imports the API.
 */
function joinSmallGroups(groups: Map<string, string[]>, files: ReadonlyMap<string, string>): void {
  const textOf = (paths: readonly string[]) => paths.map(path => files.get(basename(path)) ?? '').join('')
  const indexOf = (source: string) => STARTS.findIndex(([first]) => first === source)
  const guarded = [indexOf('register'), indexOf(COMMAND)]
  const startsOf = (key: string) => [...key].filter(bit => bit === '1').length
  const isRoomFor = (small: string, larger: string) =>
    small !== larger &&
    [...small].every((bit, index) => bit === '0' || larger[index] === '1') &&
    guarded.every(index => small[index] === larger[index]) &&
    (larger[indexOf('watch/watch-delivery')] === '0' || !textOf(groups.get(small) ?? []).includes(API))
  const keys = [...groups.keys()].filter(key => /^[01]+$/.test(key)).sort((one, other) => startsOf(one) - startsOf(other))
  for (const key of keys) {
    const paths = groups.get(key) ?? []
    const room = keys.find(other => groups.has(other) && isRoomFor(key, other))
    if (room === undefined || textOf(paths).length > FEW_BYTES) continue
    groups.get(room)?.push(...paths)
    groups.delete(key)
  }
}

/** @returns The files of these sources, and all that those import as they are loaded. */
function reachedFrom(sources: readonly string[], outputs: Metafile['outputs']): Set<string> {
  const reached = new Set<string>()
  const visit = (path: string): void => {
    if (reached.has(path)) return
    reached.add(path)
    for (const { path: imported, kind } of outputs[path]?.imports ?? [])
      if (kind === 'import-statement' && imported in outputs) visit(imported)
  }
  for (const source of sources) {
    const [path] = Object.entries(outputs).find(([, { entryPoint }]) => entryPoint === `src/${source}.ts`) ?? []
    if (path === undefined) throw new Error(`${source} is no entry of the bundle`)
    visit(path)
  }
  return reached
}

/** A file that nobody outside of the bundle loads. */
function isChunk(path: string): boolean {
  return basename(path).startsWith('chunk-')
}

/**
 * The content of the first of the files, and of the others that are merged with it.
 *
 * @param fileOf Where the content of each file is now.
 */
async function mergedFile(names: readonly string[], files: ReadonlyMap<string, string>, fileOf: ReadonlyMap<string, string>) {
  const [entry = ''] = names
  const all = names.map(name => `export * from "./${name}"`).join('\n')
  const resolved = (path: string, kind: ImportKind) => {
    const name = path.slice('./'.length)
    const file = path.startsWith('./') ? fileOf.get(name) : undefined
    if (file === entry && kind === 'import-statement') return { path: name, namespace: 'chunk' }
    return { path: file === undefined ? path : `./${file}`, external: true }
  }
  const plugin: Plugin = {
    name: 'chunks',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /.*/ }, ({ path, kind }) =>
        kind === 'entry-point' ? { path: names.length > 1 ? 'all' : entry, namespace: 'chunk' } : resolved(path, kind),
      )
      onLoad({ filter: /.*/, namespace: 'chunk' }, ({ path }) => ({ contents: files.get(path) ?? all }))
    },
  }
  const { outputFiles, metafile } = await build({
    ...FORMAT,
    ...SMALL,
    entryPoints: [entry],
    metafile: true,
    outdir: dist,
    bundle: true,
    write: false,
    plugins: [plugin],
  })
  return { text: withoutRepeated(outputFiles[0]?.text ?? ''), exports: Object.values(metafile.outputs)[0]?.exports ?? [] }
}

/** Chunks that were imported for their evaluation alone are one file now. */
function withoutRepeated(text: string): string {
  const imported = new Set(Array.from(text.matchAll(/from\s*"(\.\/[^"]+)"/g), ([, path]) => path))
  return text.replace(/import\s*"(\.\/[^"]+)";/g, (statement, path) => {
    const isRepeated = imported.has(path)
    imported.add(path)
    return isRepeated ? '' : statement
  })
}

/** CommonJS packages call `require` for what Node brings; a module has none, and none can be made in a bundle of CommonJS. */
function requiredBuiltins(): Plugin {
  const known = new Set(builtinModules)
  return {
    name: 'required-builtins',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^[\w:/]+$/ }, ({ path, kind }) =>
        kind === 'require-call' && known.has(path.replace(/^node:/, '')) ? { path, namespace: 'builtin' } : undefined,
      )
      onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
        contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)})`,
      }))
    },
  }
}

/**
 * Modules get what Node brings from the process. An `import` reads every property that a built-in module has, and by that loads what
 * nobody uses: the streams of `node:fs`, the web crypto of `node:crypto`.
 */
function importedBuiltins(): Plugin {
  return {
    name: 'imported-builtins',
    setup: ({ onLoad }) =>
      onLoad({ filter: /\.m?[jt]s$/ }, ({ path }) => {
        const text = readFileSync(path, 'utf8')
        const contents = text.replace(BUILTIN_IMPORT, (statement, whole = '', names = '', builtin = '') =>
          INSTRUMENTED.test(builtin) ? statement : builtinStatement(builtin, whole, names),
        )
        return contents === text ? undefined : { contents, loader: path.endsWith('.ts') ? 'ts' : 'js' }
      }),
  }
}

/** @param whole Name of the module itself. @param names What is imported of it, as in an `import`. */
function builtinStatement(builtin: string, whole: string, names: string): string {
  const call = `globalThis.process.getBuiltinModule('node:${builtin}')`
  const imported = names
    .split(',')
    .map(name => name.trim().split(' as '))
    .filter(([name = '']) => name !== '' && !name.startsWith('type '))
  if (builtin === LOADED_LATER)
    return imported.reduce(
      (text, [name, own = name]) => `${text}const ${own} = (...values) => (loadedLater ??= ${call}).${name}(...values);`,
      'let loadedLater;',
    )
  const parts = [whole, imported.length > 0 && `{ ${imported.map(([name, own = name]) => `${name}: ${own}`).join()} }`].filter(part => part)
  return parts.map(part => `const ${part} = ${call};`).join('')
}

/**
 * A package that is loaded by `import()` becomes a chunk of its own; of a CommonJS one that chunk has a default export alone, where
 * Node gives the names as well. A module between names them.
 */
function namedImports(): Plugin {
  const own = 'named-import'
  return {
    name: own,
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^[^./]/ }, ({ path, kind, namespace }) =>
        kind === 'dynamic-import' && namespace !== own && !isBuiltin(path) && path !== API ? { path, namespace: own } : undefined,
      )
      onLoad({ filter: /.*/, namespace: own }, async ({ path }) => {
        const names = Object.keys((await import(path)) as object).filter(name => /^[\w$]+$/.test(name))
        return { contents: `export { ${names.join(', ')} } from ${JSON.stringify(path)}`, resolveDir: ROOT }
      })
    },
  }
}

/** Played applications stay files of their own: their frames are an application's. */
function played(): Plugin {
  return {
    name: 'played',
    setup: ({ onResolve }) =>
      onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir, kind }) => {
        const module = modulePath(resolve(resolveDir, path))
        return isPlayed(module) && kind !== 'entry-point' ? { path: `./${module}.js`, external: true } : undefined
      }),
  }
}

/** The demo itself is a program of ours; the files beside it are the application. */
function isPlayed(module: string): boolean {
  return PLAYED_MODULES.test(module) && module !== 'simulator/demo/demo'
}

async function writePlayed(): Promise<string[]> {
  const modules = globSync('simulator/**/*.ts', { cwd: SOURCES }).filter(file => isPlayed(modulePath(join(SOURCES, file))))
  const unbundled: Plugin = {
    name: 'unbundled',
    setup: ({ onResolve }) => onResolve({ filter: /^\.\.?\// }, ({ path }) => ({ path: path.replace(/\.ts$/, '.js'), external: true })),
  }
  const entryPoints = modules.map(file => join(SOURCES, file))
  await build({ ...FORMAT, entryPoints, outdir: dist, outbase: SOURCES, bundle: true, plugins: [unbundled] })
  return []
}

/** The path of a module as `ownModule` takes it. */
function modulePath(file: string): string {
  return file
    .slice(SOURCES.length + 1)
    .split(sep)
    .join('/')
    .replace(/\.ts$/, '')
}

async function writePage(folder: string): Promise<readonly string[]> {
  const { files, sources } = await bundlePage()
  mkdirSync(folder, { recursive: true })
  for (const [name, text] of files) writeFileSync(join(folder, name), text)
  return sources
}

/** Writes the declarations of the doors, and of no module that they do not name. */
async function writeTypes(folder: string): Promise<string[]> {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  await RUN(process.execPath, [tsc, '-p', join(ROOT, 'tsconfig.build.json'), '--outDir', folder]).catch(({ stdout }) => {
    throw new Error(stdout)
  })
  const named = new Set<string>()
  const visit = (file: string): void => {
    if (named.has(file)) return
    named.add(file)
    for (const [, path = ''] of readFileSync(file, 'utf8').matchAll(/(?:from |import\(|import )['"](\.[^'"]+)\.[jt]s['"]/g))
      visit(join(dirname(file), `${path}.d.ts`))
  }
  for (const door of DOORS) visit(join(folder, 'src', `${door}.d.ts`))
  for (const file of globSync('**/*.d.ts', { cwd: folder })) if (!named.has(join(folder, file))) rmSync(join(folder, file))
  return []
}

/** The licence of each package that is inside, once, under the packages it is of. */
function licencesOf(inputs: readonly string[]): string {
  const packages = new Set(inputs.flatMap(path => /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(path)?.[0] ?? []))
  const titles = new Map<string, string[]>()
  for (const place of [...packages].sort().map(path => join(ROOT, path))) {
    const { name, version, license } = JSON.parse(readFileSync(join(place, 'package.json'), 'utf8')) as Record<string, string>
    const file = readdirSync(place).find(entry => /^licen[cs]e/i.test(entry))
    const text =
      file && existsSync(join(place, file)) ? readFileSync(join(place, file), 'utf8').trim() : `${license}, as its package.json says`
    titles.set(text, [...(titles.get(text) ?? []), `${name} ${version} (${license})`])
  }
  return Array.from(titles, ([text, names]) => `${names.join('\n')}\n\n${text}\n`).join(`\n${'-'.repeat(80)}\n\n`)
}
