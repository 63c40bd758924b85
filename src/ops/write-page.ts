import { mkdir, writeFile } from 'node:fs/promises'
import { findPackageJSON } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { readPageFiles } from './page-assets.ts'
import { readLicences } from './page-libraries.ts'

/** Puts the page beside the compiled code, ready to be served: scripts without types, libraries, their licences. */
const root = dirname(findPackageJSON(import.meta.url) ?? '')
const folder = resolve(root, process.argv[2] ?? 'dist', 'page')
await mkdir(folder, { recursive: true })
for (const [name, text] of await readPageFiles()) await writeFile(join(folder, name), text)
await writeFile(join(folder, 'LICENSES.txt'), await readLicences(join(root, 'node_modules')))
