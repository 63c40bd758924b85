/** Blanks out the types of the modules it is started with. */
import { stripTypeScriptTypes } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'

const scripts = ((workerData ?? []) as readonly string[]).map(source =>
  stripTypeScriptTypes(source).replaceAll(/(from '\.\/[\w-]+)\.ts'/g, "$1.js'"),
)
parentPort?.postMessage(scripts)
