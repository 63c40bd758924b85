import { existsSync, globSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { dirname, join, resolve, sep } from 'node:path'
import { build } from 'esbuild'

/**
 * Puts the OpenTelemetry SDK into the compiled files of this folder that use it, with the licences of what is in it.
 *
 * As dependencies its packages would bring an API of their own minor version, 1.10: npm would nest it beside the 1.9 of a host,
 * and an API sees nothing that one of a lower minor version has registered. The API stays outside, a peer dependency.
 */
const root = dirname(findPackageJSON(import.meta.url) ?? '')
const folder = resolve(root, process.argv[2] ?? 'dist', 'otel/sdk')

const { metafile } = await build({
  entryPoints: globSync('*.js', { cwd: folder }).map(name => join(folder, name)),
  outdir: folder,
  allowOverwrite: true,
  bundle: true,
  splitting: true,
  minify: true,
  keepNames: true,
  metafile: true,
  format: 'esm',
  platform: 'node',
  target: 'node22',
  chunkNames: 'bundled-[hash]',
  legalComments: 'none',
  logLevel: 'warning',
  nodePaths: [join(root, 'node_modules')],
  external: ['@opentelemetry/api'],
  // CommonJS packages inside call `require` for what Node brings.
  banner: { js: "import { createRequire as requireOf } from 'node:module';const require = requireOf(import.meta.url);" },
  plugins: [
    {
      // Modules of ours outside of this folder stay single: they hold state.
      name: 'outside',
      setup: ({ onResolve }) =>
        onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir }) => {
          const isOurs = resolveDir === folder && !resolve(resolveDir, path).startsWith(folder + sep)
          return isOurs ? { path, external: true } : undefined
        }),
    },
  ],
})

// Nothing outside may name a type of a package that is not there.
for (const name of globSync('*.d.ts', { cwd: folder })) rmSync(join(folder, name))
writeFileSync(join(folder, 'LICENSES.txt'), licencesOf(Object.keys(metafile.inputs)))

/** Each licence once, under the packages it is of. */
function licencesOf(inputs: readonly string[]): string {
  const packages = new Set(inputs.flatMap(path => /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(resolve(path))?.[0] ?? []))
  const titles = new Map<string, string[]>()
  for (const place of [...packages].sort()) {
    const { name, version, license } = JSON.parse(readFileSync(join(place, 'package.json'), 'utf8')) as Record<string, string>
    const file = readdirSync(place).find(entry => /^licen[cs]e/i.test(entry))
    const text =
      file && existsSync(join(place, file)) ? readFileSync(join(place, file), 'utf8').trim() : `${license}, as its package.json says`
    titles.set(text, [...(titles.get(text) ?? []), `${name} ${version} (${license})`])
  }
  return Array.from(titles, ([text, names]) => `${names.join('\n')}\n\n${text}\n`).join(`\n${'-'.repeat(80)}\n\n`)
}
