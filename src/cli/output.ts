/** Where a command writes: text for people, or one JSON value a line for programs. */
export interface Output {
  readonly isJson: boolean
  /** Shows a result: `text` for people, `value` as one line of JSON. */
  show(value: unknown, text: string): void
  /** Prints a message on stderr, so that the result can be piped. */
  note(text: string): void
}

/** The output of this process. */
export function processOutput(isJson: boolean): Output {
  return {
    isJson,
    show: (value, text) => process.stdout.write(`${isJson ? JSON.stringify(value) : text}\n`),
    note: text => process.stderr.write(`${text}\n`),
  }
}

/** What the process's exit code says; scripts can rely on these. */
export const EXIT = {
  good: 0,
  /** A profile is dead or missing, or the command failed; of findings: a dead login, money spent, a storm. */
  dead: 1,
  /** A profile expires soon, rests, serves from memory only, or its probe and its calls disagree; any other finding. */
  warning: 2,
  /** The gateway that was asked does not answer. */
  unreachable: 3,
  /** Arguments or configuration cannot be used (EX_USAGE of sysexits.h). */
  usage: 64,
  /** A fault of Gatewatch itself (EX_SOFTWARE). */
  fault: 70,
  /** The gateway ended with a new token that it could not store (EX_IOERR): stderr names the profile, which needs a login. */
  unsaved: 74,
  /** Interrupted by a signal. */
  interrupted: 130,
} as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

type Cell = string | number

/** Lays rows out in columns, numbers to the right. A column widens when a wider cell comes, so that rows can be printed as they come. */
export class TextTable {
  readonly #headings: readonly string[]
  readonly #widths: number[]

  constructor(headings: readonly string[]) {
    this.#headings = headings
    this.#widths = headings.map(heading => heading.length)
  }

  row(cells: readonly Cell[]): string {
    this.#widen(cells)
    const padded = cells.map((cell, column) => {
      const width = this.#widths[column] ?? 0
      return typeof cell === 'number' ? String(cell).padStart(width) : cell.padEnd(width)
    })
    return padded.join('  ').trimEnd()
  }

  /** Headings, a rule and rows. @param lineOf The lines of one row. @default the row alone */
  table<R extends readonly Cell[]>(rows: readonly R[], lineOf: (row: R, index: number) => string = row => this.row(row)): string {
    for (const row of rows) this.#widen(row)
    return [this.row(this.#headings), this.row(this.#widths.map(width => '-'.repeat(width))), ...rows.map(lineOf)].join('\n')
  }

  #widen(cells: readonly Cell[]): void {
    for (const [column, cell] of cells.entries()) this.#widths[column] = Math.max(this.#widths[column] ?? 0, String(cell).length)
  }
}

export function textTable(headings: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return new TextTable(headings).table(rows)
}

/** A span of time in words: `3 s`, `12 min`, `5 h`, `9 d`; a minus where it has passed. */
export function inWords(seconds: number): string {
  const size = Math.abs(seconds)
  const sign = seconds < 0 ? '-' : ''
  if (size < 120) return `${sign}${Math.round(size)} s`
  if (size < 7_200) return `${sign}${Math.round(size / 60)} min`
  return size < 172_800 ? `${sign}${Math.round(size / 3600)} h` : `${sign}${Math.round(size / 86_400)} d`
}
