import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** A file made of the minified files of libraries, one after the other, as their authors built them. */
interface Library {
  readonly name: string
  readonly files: readonly string[]
}

/** What d3-flame-graph and d3-sankey use of d3; `d3-scale` takes times from modules that no caller calls here. */
const D3 = ['array', 'color', 'dispatch', 'ease', 'format', 'hierarchy', 'interpolate', 'selection', 'timer', 'transition', 'scale']

const FLAME_GRAPH = 'd3-flame-graph/dist/d3-flamegraph.es.min.js'

/** Packages whose code is served, for their licences. */
const LIBRARY_PACKAGES = ['uplot', 'd3-flame-graph', 'd3-sankey', ...D3.map(name => `d3-${name}`)]

const LIBRARIES: readonly Library[] = [
  { name: 'd3.js', files: [...D3.map(name => `d3-${name}/dist/d3-${name}.min.js`), 'd3-sankey/dist/d3-sankey.min.js', FLAME_GRAPH] },
  { name: 'uplot.js', files: ['uplot/dist/uPlot.iife.min.js'] },
  { name: 'uplot.css', files: ['uplot/dist/uPlot.min.css'] },
]

/** The libraries of the page out of the installed packages, by the name each is served under. */
export async function readLibraries(packages: string): Promise<Map<string, string>> {
  const made = LIBRARIES.map(async ({ name, files }) => {
    const texts = await Promise.all(files.map(async file => plainScript(file, await readFile(join(packages, file), 'utf8'))))
    return [name, `${texts.join('\n')}\n`] as const
  })
  return new Map(await Promise.all(made))
}

/** Every licence of what is served, for the package. */
export async function readLicences(packages: string): Promise<string> {
  const licences = LIBRARY_PACKAGES.map(async name => {
    const { version, license } = JSON.parse(await readFile(join(packages, name, 'package.json'), 'utf8')) as {
      version: string
      license: string
    }
    return `${name} ${version} (${license})\n\n${await readFile(join(packages, name, 'LICENSE'), 'utf8')}`
  })
  return (await Promise.all(licences)).join(`\n${'-'.repeat(80)}\n\n`)
}

/**
 * The flame graph comes as a module that imports d3 by package names, or as a script that puts a `<style>` into the page,
 * which the page's policy refuses. The module is turned into a plain script over the `d3` that stands before it; its few
 * rules of style are in `page.css`.
 */
function plainScript(file: string, text: string): string {
  if (file !== FLAME_GRAPH) return text
  const body = text
    .replaceAll(/^import "[^"]+";$/gm, '')
    .replace(/^import '\.\/d3-flamegraph\.css';/m, '')
    .replaceAll(/^import \{([^}]+)\} from "d3-[\w-]+";$/gm, (_all, names: string) => `const {${names.replaceAll(' as ', ': ')}} = d3;`)
    .replace(/export \{\s*\w+ as colorMapper,\s*(\w+) as default,[^}]*\};?/, 'globalThis.flamegraph = $1;')
  return `(() => {\n${body}})();`
}
