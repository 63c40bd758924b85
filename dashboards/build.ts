import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { generatedFiles } from './artefacts.ts'
import { withBoards } from './write-readme.ts'

// `npm run dashboards`: writes generated/ and the part of README.md about the boards.
const generated = join(import.meta.dirname, 'generated')
const files = generatedFiles()
await mkdir(generated, { recursive: true })
for (const name of await readdir(generated)) if (!files.has(name)) await rm(join(generated, name))
for (const [name, content] of files) await writeFile(join(generated, name), content)
const readme = join(import.meta.dirname, 'README.md')
await writeFile(readme, withBoards(await readFile(readme, 'utf8')))
process.stdout.write(`${files.size} files written to dashboards/generated\n`)
