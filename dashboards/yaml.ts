import { stringify } from 'yaml'

/** What is written as YAML; a key without a value is left out. */
export type Yaml = string | number | boolean | readonly Yaml[] | { readonly [key: string]: Yaml | undefined }

/** Writes YAML with text in double quotes, one line each: PromQL and templates hold what a plain scalar may not. */
export function writeYaml(value: Yaml): string {
  return stringify(value, {
    defaultStringType: 'QUOTE_DOUBLE',
    defaultKeyType: 'PLAIN',
    doubleQuotedAsJSON: true,
    lineWidth: 0,
    aliasDuplicateObjects: false,
  })
}
