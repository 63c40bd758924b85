export type Yaml = string | number | boolean | readonly Yaml[] | { readonly [key: string]: Yaml | undefined }

/** Writes YAML: two blanks a level, strings in JSON's quotes, which YAML reads the same way. */
export function writeYaml(value: Yaml): string {
  return `${block(value, '')}\n`
}

function block(value: Yaml, indent: string): string {
  if (typeof value !== 'object') return typeof value === 'string' ? JSON.stringify(value) : String(value)
  if (isList(value)) return value.length === 0 ? '[]' : value.map(item => `${indent}- ${block(item, `${indent}  `).trimStart()}`).join('\n')
  const entries = Object.entries(value).filter((entry): entry is [string, Yaml] => entry[1] !== undefined)
  if (entries.length === 0) return '{}'
  return entries.map(([key, item]) => `${indent}${keyOf(key)}:${isNested(item) ? '\n' : ' '}${block(item, `${indent}  `)}`).join('\n')
}

function isNested(value: Yaml): boolean {
  return typeof value === 'object' && Object.keys(value).length > 0
}

function isList(value: object): value is readonly Yaml[] {
  return Array.isArray(value)
}

function keyOf(key: string): string {
  return /^[a-z_][a-z0-9_]*$/i.test(key) ? key : JSON.stringify(key)
}
