import {
  ATTR_REQUEST_CLIENT,
  ATTR_REQUEST_ENCODING,
  ATTR_REQUEST_FIELDS,
  ATTR_REQUEST_HEADERS,
  ATTR_REQUEST_SCOPES,
} from '../../otel/semconv.ts'
import type { Evidence, InputSpan } from './evidence.ts'
import type { RequestShape, ShapeComparison } from './finding.ts'

const WORKED: ReadonlySet<string | undefined> = new Set(['rotated', 'renewed'])

/** The request of a failed refresh beside the last one before it that worked; `undefined` where its shape was not seen. */
export function comparedShapes(evidence: Evidence, failed: InputSpan | undefined): ShapeComparison | undefined {
  const failing = failed && summarizeRequest(failed)
  if (!failed || !failing) return undefined
  const good = lastGoodBefore(evidence, failed)
  const lastGood = good && summarizeRequest(good)
  if (!lastGood) return { failing, differences: [] }
  return { failing, lastGood, differences: differences(failing, lastGood) }
}

/** Of the same profile if there is one, else of the same provider: who has lost its token has lost its name as well. */
function lastGoodBefore({ refreshes }: Evidence, failed: InputSpan): InputSpan | undefined {
  const worked = refreshes.filter(
    span => span.startMs < failed.startMs && WORKED.has(span.outcome) && span.text(ATTR_REQUEST_FIELDS) !== undefined,
  )
  return worked.findLast(span => span.profile === failed.profile) ?? worked.findLast(span => span.provider === failed.provider)
}

function summarizeRequest(span: InputSpan): RequestShape | undefined {
  const fields = span.text(ATTR_REQUEST_FIELDS)
  if (fields === undefined) return undefined
  const encoding = span.text(ATTR_REQUEST_ENCODING)
  const client = span.text(ATTR_REQUEST_CLIENT)
  const scopes = span.text(ATTR_REQUEST_SCOPES)
  const headers = span.text(ATTR_REQUEST_HEADERS)
  return {
    at: new Date(span.startMs).toISOString(),
    fields,
    ...(encoding !== undefined && { encoding }),
    ...(client !== undefined && { client }),
    ...(scopes !== undefined && { scopes }),
    ...(headers !== undefined && { headers }),
  }
}

function differences(failing: RequestShape, lastGood: RequestShape): string[] {
  const lines: string[] = []
  if (failing.encoding !== lastGood.encoding)
    lines.push(`encoding is ${failing.encoding ?? 'unknown'}, was ${lastGood.encoding ?? 'unknown'}`)
  const now = fieldsOf(failing.fields)
  const then = fieldsOf(lastGood.fields)
  for (const name of new Set([...now.keys(), ...then.keys()])) {
    const [is, was] = [now.get(name), then.get(name)]
    if (is === was) continue
    if (is === undefined) lines.push(`field ${name} is missing, was ${was}`)
    else if (was === undefined) lines.push(`field ${name}=${is} is new`)
    else lines.push(`field ${name} is ${is}, was ${was}`)
  }
  if (failing.client !== undefined && lastGood.client !== undefined && failing.client !== lastGood.client)
    lines.push('the client id is another one')
  if (failing.scopes !== lastGood.scopes) lines.push(`scopes are ${failing.scopes ?? 'none'}, were ${lastGood.scopes ?? 'none'}`)
  return lines
}

function fieldsOf(fields = ''): Map<string, string> {
  return new Map(
    fields.split(' ').flatMap(pair => {
      const [name, value] = pair.split('=')
      return name && value !== undefined ? [[name, value] as const] : []
    }),
  )
}
