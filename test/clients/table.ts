import { isCallerFound, isSeen, isShapeRead, isShared, isTokenKept, type Row, type Trial } from './trial.ts'

/** What one Node showed: everything let through, and everything held back. */
export interface Trials {
  readonly major: number
  readonly observe: Trial
  readonly enforce: Trial
  /** As `enforce`, by a watch without the token URLs. */
  readonly unnamed: Trial
  /** Two at once, under the policy that has them share an answer. */
  readonly coalesce: Trial
}

/** One question of the table, answered for each client and Node. */
interface Column {
  readonly title: string
  readonly holds: (row: Row) => boolean
  readonly of: Exclude<keyof Trials, 'major'>
  /** Whether a provider call is asked this too. */
  readonly ofCalls: boolean
}

const COLUMNS: readonly Column[] = [
  { title: 'detected', holds: isSeen, of: 'observe', ofCalls: true },
  { title: 'caller', holds: isCallerFound, of: 'observe', ofCalls: true },
  { title: 'shape', holds: isShapeRead, of: 'observe', ofCalls: false },
  { title: 'blocked', holds: isTokenKept, of: 'enforce', ofCalls: false },
  { title: 'blocked, unnamed', holds: isTokenKept, of: 'unnamed', ofCalls: false },
  { title: 'coalesced', holds: isShared, of: 'coalesce', ofCalls: false },
  { title: 'caller of the blocked', holds: isCallerFound, of: 'enforce', ofCalls: false },
]

const HEAD = `# What is seen of which HTTP client

Written by \`npm run test:clients -- --update\`, from one run of every client under every Node below, each in one process
that is watched from outside: the application's function \`refreshTheToken\` asks a simulated provider for a token, some
\`await\`s below its entry (the SDKs ask for a model's answer instead).

- **detected**: the request is reported.
- **caller**: the frame that is named is the application's function, for each request that was made, redirects and retries too.
- **shape**: the names of the fields of the token request were read.
- **blocked**: under the policy \`enforce\` nothing came to the token endpoint, and the application got an error with the code
  \`GATEWATCH_BYPASS\`, as itself or as the cause of its client's own. The body decides, and it is known after the headers: over
  HTTP/2, on a session that is open, headers without a body may arrive.
- **blocked, unnamed**: the same where the watch was not given the token URL, so that the body alone shows what it is.
- **coalesced**: under the policy \`coalesce\` two that asked at once shared one request. That is done for fetch and undici,
  and for what is built on them; with the other clients \`coalesce\` only observes.

A cell names the Nodes for which it is so; \`–\` stands for none, and an empty cell for what is not asked of a provider call.
`

/** The table of all clients, as Markdown. */
export function tableOf(trials: readonly Trials[]): string {
  const clients = trials[0]?.observe.rows ?? []
  const lines = clients.map(({ client, isProviderCall }) => {
    const cells = COLUMNS.map(column => (isProviderCall && !column.ofCalls ? '' : cell(trials, client, column)))
    return `| ${[client, ...cells].join(' | ')} |`
  })
  const head = `| client | ${COLUMNS.map(({ title }) => title).join(' | ')} |`
  const rule = `|---|${COLUMNS.map(() => '---|').join('')}`
  return `${HEAD}\n${[head, rule, ...lines, sums(trials)].join('\n')}\n`
}

function cell(trials: readonly Trials[], client: string, { holds, of }: Column): string {
  const majors = trials.filter(trial => trial[of].rows.some(row => row.client === client && holds(row))).map(({ major }) => major)
  return majors.join(' ') || '–'
}

function sums(trials: readonly Trials[]): string {
  const cells = COLUMNS.map(({ holds, of, ofCalls }) => {
    const rows = trials.flatMap(trial => trial[of].rows).filter(({ isProviderCall }) => ofCalls || !isProviderCall)
    return `**${Math.floor((100 * rows.filter(holds).length) / rows.length)} %**`
  })
  return `| **all** | ${cells.join(' | ')} |`
}
