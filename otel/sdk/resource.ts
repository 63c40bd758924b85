import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Attributes } from '@opentelemetry/api'
import { parseKeyPairsIntoRecord } from '@opentelemetry/core'
import { defaultResource, type Resource, resourceFromAttributes } from '@opentelemetry/resources'
import { ATTR_PROCESS_ROLE, SCOPE } from '../names.ts'
import type { ProcessRole } from '../words.ts'
import { type Environment, textOf } from './environment.ts'

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
export function resourceOf({ environment, serviceName = SCOPE, processRole }: ResourceOptions): Resource {
  const own = resourceFromAttributes({
    'service.name': serviceName,
    'service.version': packageVersion(),
    'service.instance.id': randomUUID(),
    'process.pid': process.pid,
    ...(processRole && { [ATTR_PROCESS_ROLE]: processRole }),
  })
  return defaultResource()
    .merge(own)
    .merge(resourceFromAttributes(attributesIn(environment)))
}

/** `OTEL_RESOURCE_ATTRIBUTES`, and the service's name before them. Read here: OpenTelemetry's detector knows `process.env` alone. */
function attributesIn(environment: Environment): Attributes {
  const name = textOf(environment, 'OTEL_SERVICE_NAME')
  return { ...parseKeyPairsIntoRecord(environment.OTEL_RESOURCE_ATTRIBUTES), ...(name !== undefined && { 'service.name': name }) }
}

/** The version of this package; its file lies one folder up in the sources and two in what is published. */
export function packageVersion(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { name?: string; version?: string }
      if (name === 'gatewatch' && version) return version
    } catch {
      // Not there: the other place has it.
    }
  }
  return '0.0.0'
}
