import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { build, type Plugin } from 'esbuild'

/** The ops page as a browser gets it. */
interface BundledPage {
  /** The text of every file, by the name it is served under. */
  readonly files: ReadonlyMap<string, string>
  /** Paths of all sources from the root of the repository, for the licences of those that are packages. */
  readonly sources: readonly string[]
}

const ROOT = join(import.meta.dirname, '../..')
const FOLDER = join(import.meta.dirname, 'page')

/** `page.css` has the few rules of the flame graph that the page needs. */
const WITHOUT_FLAME_GRAPH_STYLE: Plugin = {
  name: 'without the style of d3-flame-graph',
  setup({ onLoad }) {
    onLoad({ filter: /d3-flamegraph\.css$/ }, () => ({ contents: '', loader: 'empty' }))
  },
}

/** Bundles the page; d3 and uPlot are chunks that a view loads when it first needs them. */
export async function bundlePage(): Promise<BundledPage> {
  const { outputFiles, metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: ['main.ts', 'sign-in.ts', 'page.css'].map(name => join(FOLDER, name)),
    outdir: FOLDER,
    write: false,
    bundle: true,
    splitting: true,
    format: 'esm',
    minify: true,
    chunkNames: 'chunk-[hash]',
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
    plugins: [WITHOUT_FLAME_GRAPH_STYLE],
  })
  const scripts = outputFiles.map(({ path, text }) => [basename(path), text] as const)
  const pages = globSync('*.html', { cwd: FOLDER }).map(name => [name, readFileSync(join(FOLDER, name), 'utf8')] as const)
  return { files: new Map([...scripts, ...pages]), sources: Object.keys(metafile.inputs) }
}
