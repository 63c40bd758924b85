import { readdir } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { SourceLocation } from './found-profile.ts'
import { notFound } from './source-failure.ts'
import { isThere } from './source-file.ts'
import { isFolder } from './source-location.ts'

/** The files in which an OpenClaw keeps its profiles; the first that names a profile counts. */
export interface OpenClawPaths {
  /** SQLite stores and `auth-profiles.json`. */
  readonly stores: readonly string[]
  /** Folders that may hold the encrypted tokens of 2026.5. */
  readonly sidecarFolders: readonly string[]
  /** Agents in addition to the one that is read, by their folder. */
  readonly otherAgents: readonly string[]
}

const JSON_STORE = 'auth-profiles.json'
const AGENT_STORE = 'openclaw-agent.sqlite'
const SHARED_STORE = join('state', 'openclaw.sqlite')
/** The agent that is there from the start. */
const FIRST_AGENT = 'main'

/**
 * Finds the stores of an OpenClaw: a file, the folder of an agent, or a state folder (`OPENCLAW_STATE_DIR`, else
 * `~/.openclaw`), of which the agent `main` is read, before what all agents share.
 *
 * @throws {GatewayError} `GW_CONFIG` when there is none.
 */
export async function openClawPaths({ path, environment, home }: SourceLocation): Promise<OpenClawPaths> {
  const given = resolve(path ?? (environment.OPENCLAW_STATE_DIR || join(home, '.openclaw')))
  if (!(await isFolder(given))) {
    if (!(await isThere(given))) throw nothingAt(given)
    return { stores: [given], sidecarFolders: sidecarFolders(stateAbove(given), environment), otherAgents: [] }
  }
  const ofAgent = await storesOfAgent(given)
  if (ofAgent.length > 0)
    return { stores: ofAgent, sidecarFolders: sidecarFolders(dirname(dirname(dirname(given))), environment), otherAgents: [] }

  const agents = await agentsOf(given)
  const first = agents.find(folder => basename(dirname(folder)) === FIRST_AGENT) ?? agents[0]
  const shared = join(given, SHARED_STORE)
  const stores = [...(first === undefined ? [] : await storesOfAgent(first)), ...((await isThere(shared)) ? [shared] : [])]
  if (stores.length === 0) throw nothingAt(given)
  return { stores, sidecarFolders: sidecarFolders(given, environment), otherAgents: agents.filter(folder => folder !== first) }
}

/** SQLite before JSON: a version that has the one has moved the profiles out of the other. */
async function storesOfAgent(folder: string): Promise<string[]> {
  const paths = [AGENT_STORE, JSON_STORE].map(name => join(folder, name))
  const there = await Promise.all(paths.map(isThere))
  return paths.filter((_path, index) => there[index])
}

async function agentsOf(state: string): Promise<string[]> {
  const names = await readdir(join(state, 'agents')).catch((): string[] => [])
  const folders: string[] = []
  for (const name of names.sort()) {
    const folder = join(state, 'agents', name, 'agent')
    if ((await storesOfAgent(folder)).length > 0) folders.push(folder)
  }
  return folders
}

/** A store is stored in `agents/<agent>/agent/` of the state folder, the shared one in `state/`. */
function stateAbove(file: string): string {
  const folder = dirname(file)
  return file.endsWith(SHARED_STORE) ? dirname(folder) : dirname(dirname(dirname(folder)))
}

function sidecarFolders(state: string, { OPENCLAW_OAUTH_DIR: given }: SourceLocation['environment']): string[] {
  return [...(given ? [given] : []), join(state, 'credentials')].map(folder => join(folder, 'auth-profiles'))
}

function nothingAt(path: string) {
  return notFound(path, `name the state folder of OpenClaw, the folder of an agent, or its ${JSON_STORE} or ${AGENT_STORE} with --path`)
}
