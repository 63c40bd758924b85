import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** Identifies a process, so that another one can check later whether it still lives. */
export interface ProcessIdentity {
  readonly pid: number
  /** Where `pid` means something: host name, boot and process namespace. Two containers may share a folder, and a pid. */
  readonly host: string
  /** When the process started, in the kernel's ticks since boot; empty where that is unknown. A pid alone is used again. */
  readonly started: string
}

/** The process this code runs in. */
export function thisProcess(): ProcessIdentity {
  self ??= { pid: process.pid, host: [hostname(), bootId(), namespace()].join(' '), started: lookUp(process.pid)?.started ?? '' }
  return self
}

/**
 * Says whether a process is known to be dead.
 *
 * @returns true only when that is certain; false for one that lives, and for one on another host.
 */
export function isDead({ pid, host, started }: ProcessIdentity): boolean {
  if (host !== thisProcess().host) return false
  if (!answers(pid)) return true
  const found = lookUp(pid)
  if (!found) return false
  return found.isZombie || (started !== '' && found.started !== started)
}

let self: ProcessIdentity | undefined

function answers(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as { code?: unknown }).code !== 'ESRCH' // EPERM: it lives, but is not ours
  }
}

/** State and start of a process, from `/proc/<pid>/stat` (proc_pid_stat(5)): fields 3 and 22, counted after the name. */
function lookUp(pid: number): { started: string; isZombie: boolean } | undefined {
  const text = readText(`/proc/${pid}/stat`)
  // The name stands in parentheses and may hold spaces and parentheses itself.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [state, started] = [fields[0], fields[19]]
  return state && started ? { started, isZombie: state === 'Z' || state === 'X' } : undefined
}

function bootId(): string {
  return readText('/proc/sys/kernel/random/boot_id').trim()
}

function namespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return ''
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
