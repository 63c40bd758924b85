import type { TokenRequestEvent } from '../domain/events.ts'
import type { Evidence } from './evidence.ts'
import type { RequestShape, ShapeComparison } from './finding.ts'
import { isoTime } from './messages.ts'

const WORKED: ReadonlySet<string | undefined> = new Set(['rotated', 'renewed'])

/** The request of a failed refresh beside the last one before it that worked; `undefined` where its shape was not seen. */
export function comparedShapes(evidence: Evidence, failed: TokenRequestEvent | undefined): ShapeComparison | undefined {
  const failing = failed && shapeOf(failed)
  if (!failed || !failing) return undefined
  const good = lastGoodBefore(evidence, failed)
  const lastGood = good && shapeOf(good)
  if (!lastGood) return { failing, differences: [] }
  return { failing, lastGood, differences: differences(failing, lastGood) }
}

/** Of the same profile if there is one, else of the same provider: a client that lost its token cannot name its profile. */
function lastGoodBefore({ refreshes }: Evidence, failed: TokenRequestEvent): TokenRequestEvent | undefined {
  const worked = refreshes.filter(
    ({ startMs, outcome, requestFields }) => startMs < failed.startMs && WORKED.has(outcome) && requestFields !== undefined,
  )
  return worked.findLast(({ profile }) => profile === failed.profile) ?? worked.findLast(({ provider }) => provider === failed.provider)
}

function shapeOf(request: TokenRequestEvent): RequestShape | undefined {
  const { startMs, requestFields: fields, requestEncoding: encoding, requestClientFingerprint: client } = request
  const { requestScopes: scopes, requestHeaders: headers } = request
  if (fields === undefined) return undefined
  return {
    at: isoTime(startMs),
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
  lines.push(...fieldDifferences(fieldsOf(failing.fields), fieldsOf(lastGood.fields)))
  if (failing.client !== undefined && lastGood.client !== undefined && failing.client !== lastGood.client)
    lines.push('the client id is another one')
  if (failing.scopes !== lastGood.scopes) lines.push(`scopes are ${failing.scopes ?? 'none'}, were ${lastGood.scopes ?? 'none'}`)
  return lines
}

function* fieldDifferences(now: ReadonlyMap<string, string>, then: ReadonlyMap<string, string>): Generator<string> {
  for (const name of new Set([...now.keys(), ...then.keys()])) {
    const [is, was] = [now.get(name), then.get(name)]
    if (is === was) continue
    if (is === undefined) yield `field ${name} is missing, was ${was}`
    else if (was === undefined) yield `field ${name}=${is} is new`
    else yield `field ${name} is ${is}, was ${was}`
  }
}

function fieldsOf(fields = ''): Map<string, string> {
  return new Map(
    fields.split(' ').flatMap(pair => {
      const [name, value] = pair.split('=')
      return name && value !== undefined ? [[name, value] as const] : []
    }),
  )
}
