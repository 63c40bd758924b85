import type { AttributeValue } from '@opentelemetry/api'

/** The value of an attribute that holds a text; `undefined` for any other. */
export function attributeText(value: AttributeValue | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** The value of an attribute that holds a number; `undefined` for any other. */
export function numberOf(value: AttributeValue | undefined): number | undefined {
  return typeof value === 'number' ? value : undefined
}
