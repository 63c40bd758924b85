/** Where a command writes: text for people, or one JSON value a line for programs. */
export interface Output {
  readonly isJson: boolean
  /** Shows a result: `text` for people, `value` as one line of JSON. */
  show(value: unknown, text: string): void
  /** Says something other than the result, on stderr, so that the result can be piped. */
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
