import { parseArgs } from 'node:util'
import { ISOLATED, type IsolatedId } from './isolate.ts'
import { CONTESTANTS, type GatewayId } from './variants.ts'

export interface BenchOptions {
  readonly only: readonly GatewayId[]
  /** Whether a watched process is set against an unwatched one. */
  readonly watch: boolean
  /** Whether an application that embeds the library is set against the same one without. */
  readonly embed: boolean
  /** Whether diagnose is timed over a large event store. */
  readonly diagnose: boolean
  /** Parts that are measured in a process of their own. */
  readonly alone: readonly IsolatedId[]
  readonly rounds: number
  /** How many processes of each contestant share the rounds, one after the other. */
  readonly starts: number
  /** How long each contestant is under load in each case of each round. */
  readonly cellMs: number
  /** How long each contestant is warmed up with each body. */
  readonly warmUpMs: number
  readonly json: boolean
  /** The commit, or folder, that is measured beside this tree. */
  readonly against?: string
}

/** Names the watched process among those of `--only`. */
const WATCH = 'watch'
/** Names the application that embeds the library among those of `--only`. */
const EMBED = 'embed'
/** Names the diagnosis of a large event store among those of `--only`. */
const DIAGNOSE = 'diagnose'
const FULL = { rounds: 12, starts: 4, cellMs: 550, warmUpMs: 2_000 } as const
/** What is measured against another commit when nothing is named. */
const AGAINST: readonly GatewayId[] = ['a', 'b', 'b-otlp']
const QUICK = { rounds: 3, starts: 1, cellMs: 300, warmUpMs: 500 } as const

export const HELP = `Measures Gatewatch beside a bare Express + undici pass-through, on loopback, in interleaved rounds.

  npm run bench -- [options]

  --quick          ${QUICK.rounds} short rounds, to see that it runs; the numbers are rough
  --rounds N       rounds of all contestants (${FULL.rounds}; the medians are of these)
  --starts N       processes of each contestant that share the rounds, one after the other (${FULL.starts})
  --only a,b,...   contestants: ${CONTESTANTS.join(', ')}; ratios are to the first one measured.
                   ${WATCH}: a process under gatewatch run beside the same process without
                   ${EMBED}: a route of an application behind the middleware, and with its call wrapped, beside the bare route
                   ${DIAGNOSE}: gatewatch diagnose over an event store of 200,000 events
                   ${ISOLATED.join(', ')}: start-up, gate acquisitions, wrapped calls and middleware, the share of recording events, the holds of a host's loop, memory over a million calls (minutes),
                   the questions of the ops page over 200,000 events
  --against COMMIT that commit's gateway and watched process as further contestants of the same rounds, and the ratios
                   of this tree to it; it is checked out into a temporary worktree (modules are shared where the lock
                   file is the same, else npm ci). A path (./x, /x) names a checkout that is there. On a machine with
                   other work the CPU per request is the figure to look at. Without --only: ${AGAINST.join(', ')}, ${WATCH}
  --json           every measurement of every round, as JSON
  --help
`

/** Reads the command line. @returns `undefined` when help was asked for. @throws {TypeError} for what is not known. */
export function readOptions(parameters: readonly string[]): BenchOptions | undefined {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      starts: { type: 'string' },
      only: { type: 'string' },
      against: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return undefined
  const defaults = values.quick ? QUICK : FULL
  const rounds = countOf('rounds', values.rounds) ?? defaults.rounds
  const starts = Math.min(rounds, countOf('starts', values.starts) ?? defaults.starts)
  return {
    ...defaults,
    rounds,
    starts,
    ...readOnly(values),
    json: values.json,
    ...(values.against !== undefined && { against: values.against }),
  }
}

/** @throws {TypeError} for what is no count. */
function countOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const count = Number(text)
  if (!Number.isInteger(count) || count < 1) throw new TypeError(`--${name} is ${text}; allowed: a whole number from 1`)
  return count
}

function readOnly({
  only: text,
  against,
}: {
  only?: string
  against?: string
}): Pick<BenchOptions, 'only' | 'watch' | 'embed' | 'diagnose' | 'alone'> {
  if (text === undefined && against !== undefined) return { only: AGAINST, watch: true, embed: false, diagnose: false, alone: [] }
  if (text === undefined) return { only: CONTESTANTS, watch: true, embed: true, diagnose: true, alone: ISOLATED }
  const wanted = text.split(',').map(word => word.trim())
  const known: readonly string[] = [...CONTESTANTS, WATCH, EMBED, DIAGNOSE, ...ISOLATED]
  const unknown = wanted.filter(word => !known.includes(word))
  if (unknown.length > 0) throw new TypeError(`--only names ${unknown.join(', ')}; allowed: ${known.join(', ')}`)
  return {
    only: CONTESTANTS.filter(id => wanted.includes(id)),
    watch: wanted.includes(WATCH),
    embed: wanted.includes(EMBED),
    diagnose: wanted.includes(DIAGNOSE),
    alone: ISOLATED.filter(id => wanted.includes(id)),
  }
}
