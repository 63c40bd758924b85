import { execFile } from 'node:child_process'
import { chmodSync, existsSync, globSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { builtinModules, isBuiltin } from 'node:module'
import { dirname, join, resolve, sep } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { build, type Plugin } from 'esbuild'
import { bundlePage } from './src/ops/bundle-page.ts'
import { PLAYED_MODULES } from './src/tools/own-module.ts'

/**
 * Writes what the package ships to `dist`, or to the folder that is named: `node build.ts [folder] [--no-types]`.
 *
 * - `dist/*.js`: the doors of the library and the preload, with what they share as chunks.
 * - `dist/programs/*.js`: the command, with Express and the OpenTelemetry SDK inside. A bundle of its own: shared with some sixty
 *   commands, the library would be cut into many small chunks.
 * - `dist/page/`: the ops page. `dist/types/`: declarations of the doors and of what they name.
 *
 * Packages are bundled, so that an installation brings none; `@opentelemetry/api` is the host's.
 */
const ROOT = import.meta.dirname
const SOURCES = join(ROOT, 'src')
const DOORS = ['index', 'express', 'gateway', 'register', 'store']
const PROGRAMS = ['cli/main']
const API = '@opentelemetry/api'
/** A call that loads a module of ours by its URL; see `src/tools/own-module.ts`. */
const LOADS = /\b(?:ownModule|startQuietThread|requireOwn(?:<.*>)?)\(\s*'([\w/-]+)'/g
const FORMAT = { format: 'esm', platform: 'node', target: 'node22.22', logLevel: 'warning' } as const
const RUN = promisify(execFile)

const { values, positionals } = parseArgs({ allowPositionals: true, options: { 'no-types': { type: 'boolean', default: false } } })
const dist = resolve(ROOT, positionals[0] ?? 'dist')
const programs = join(dist, 'programs')

rmSync(dist, { recursive: true, force: true })
const loaded = modulesLoadedByUrl()
const ofLibrary = loaded.filter(path => !path.startsWith('simulator/') && !path.startsWith('ops/'))
const written = await Promise.all([
  bundle(dist, [...DOORS, ...ofLibrary.filter(path => !isThread(path))]),
  bundle(programs, [...PROGRAMS, ...loaded.filter(path => !isThread(path) && !isPlayed(path))]),
  ...ofLibrary.filter(isThread).map(path => bundle(dist, [path], false)),
  ...loaded.filter(isThread).map(path => bundle(programs, [path], false)),
  writePlayed(),
  writePage(join(dist, 'page')),
  values['no-types'] ? [] : writeTypes(join(dist, 'types')),
])
shareChunks()
// npm sets it when it links the command, and not when the command is built again.
chmodSync(join(programs, 'main.js'), 0o755)
writeFileSync(join(dist, 'THIRD-PARTY-LICENSES.txt'), licencesOf(written.flat()))

function modulesLoadedByUrl(): string[] {
  const texts = globSync('**/*.ts', { cwd: SOURCES }).map(file => readFileSync(join(SOURCES, file), 'utf8'))
  return [...new Set(texts.flatMap(text => Array.from(text.matchAll(LOADS), ([, path = '']) => path)))].sort()
}

/** A thread shares no state with the process: its bundle is one file. */
function isThread(path: string): boolean {
  return path.endsWith('-worker')
}

/**
 * A chunk that both bundles have is stored once: the one of the programs passes on what that of the library exports. All that a
 * shared chunk imports must be shared too, since a module that is there twice has its state twice.
 */
function shareChunks(): void {
  const texts = new Map(globSync('chunk-*.js', { cwd: dist }).map(name => [name, readFileSync(join(dist, name), 'utf8')]))
  const isShared = (name: string): boolean => {
    const text = texts.get(name)
    if (text === undefined || text.includes('import.meta')) return false
    if (!existsSync(join(programs, name)) || readFileSync(join(programs, name), 'utf8') !== text) return false
    return Array.from(text.matchAll(/"\.\/([^"]+\.js)"/g)).every(([, imported = '']) => isShared(imported))
  }
  for (const name of [...texts.keys()].filter(isShared)) writeFileSync(join(programs, name), `export*from"../${name}";\n`)
}

/** @returns Paths of all sources. */
async function bundle(outdir: string, entries: readonly string[], splitting = true): Promise<string[]> {
  const { metafile } = await build({
    ...FORMAT,
    entryPoints: entries.map(path => join(SOURCES, `${path}.ts`)),
    outdir,
    entryNames: '[name]',
    chunkNames: 'chunk-[hash]',
    bundle: true,
    splitting,
    minifySyntax: true,
    minifyWhitespace: true,
    metafile: true,
    legalComments: 'none',
    absWorkingDir: ROOT,
    external: [API],
    plugins: [builtins(), played(), namedImports()],
  })
  return Object.keys(metafile.inputs)
}

/** CommonJS packages call `require` for what Node brings; a module has none, and none can be made in a bundle of CommonJS. */
function builtins(): Plugin {
  const known = new Set(builtinModules)
  return {
    name: 'builtins',
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
  await build({ ...FORMAT, entryPoints, outdir: programs, outbase: SOURCES, bundle: true, plugins: [unbundled] })
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
