import { randomUUID } from 'node:crypto'
import type { Attributes } from '@opentelemetry/api'
import { ATTR_PROCESS_ROLE, SCOPE } from '../../otel/semconv.ts'
import type { ProcessRole } from '../domain/enums.ts'
import { packageVersion } from '../tools/own-package.ts'
import { type Environment, variableText } from './environment.ts'

export interface ResourceOptions {
  environment: Environment
  /** @default 'gatewatch' */
  serviceName?: string
  processRole?: ProcessRole
}

/**
 * What the process says about itself.
 *
 * `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` go before what the program says. Command line, owner and host are
 * left out on purpose: command lines hold secrets, and OpenTelemetry's own process detector would send them.
 */
export function processAttributes({ environment, serviceName = SCOPE, processRole }: ResourceOptions): Attributes {
  const name = variableText(environment, 'OTEL_SERVICE_NAME')
  return {
    'service.name': serviceName,
    'service.version': packageVersion(),
    'service.instance.id': randomUUID(),
    'process.pid': process.pid,
    ...(processRole && { [ATTR_PROCESS_ROLE]: processRole }),
    ...pairsIn(environment.OTEL_RESOURCE_ATTRIBUTES),
    ...(name !== undefined && { 'service.name': name }),
  }
}

/** The pairs of a list `key=value,key=value`, percent-encoded. Read here: OpenTelemetry's detector knows `process.env` alone. */
function pairsIn(list = ''): Attributes {
  const pairs = list.split(',').flatMap(pair => {
    const [, key = '', value = ''] = /^\s*([^=;]+?)\s*=\s*([^;]*?)\s*(?:;|$)/.exec(pair) ?? []
    return key && value ? [[decoded(key), decoded(value)]] : []
  })
  return Object.fromEntries(pairs)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
