/** Lays rows out in columns, headings first; numbers to the right. */
export function textTable(headings: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const widths = headings.map((heading, column) => Math.max(heading.length, ...rows.map(row => String(row[column] ?? '').length)))
  const line = (cells: readonly (string | number)[]) =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return typeof cell === 'number' ? String(cell).padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd()
  return [line(headings), line(widths.map(width => '-'.repeat(width))), ...rows.map(line)].join('\n')
}

/** A span of time in words: `3 s`, `12 min`, `5 h`, `9 d`; a minus where it has passed. */
export function inWords(seconds: number): string {
  const size = Math.abs(seconds)
  const sign = seconds < 0 ? '-' : ''
  if (size < 120) return `${sign}${Math.round(size)} s`
  if (size < 7_200) return `${sign}${Math.round(size / 60)} min`
  return size < 172_800 ? `${sign}${Math.round(size / 3600)} h` : `${sign}${Math.round(size / 86_400)} d`
}
