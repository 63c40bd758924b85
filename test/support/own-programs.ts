import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const SOURCES = join(import.meta.dirname, '../../src')
const built = process.env.GATEWATCH_BUILT

/** The command from its sources, as `npm start` runs it. */
export const SOURCE_MAIN: string = join(SOURCES, 'cli/main.ts')

/** The command, as a file for Node: as the package ships it where the run has built it (`build-package.ts`), else the source. */
export const MAIN: string = built ? join(built, 'dist/main.js') : SOURCE_MAIN

/** URL of the preload from its sources. */
export const SOURCE_REGISTER: string = pathToFileURL(join(SOURCES, 'register.ts')).href

/** URL of the preload, for `--import`. */
export const REGISTER: string = built ? pathToFileURL(join(built, 'dist/register.js')).href : SOURCE_REGISTER
