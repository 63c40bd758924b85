import { defaultResource, type Resource, resourceFromAttributes } from '@opentelemetry/resources'
import { processAttributes, type ResourceOptions } from '../../src/telemetry/process-resource.ts'

/** What the process says about itself, and which SDK it runs. */
export function resourceOf(options: ResourceOptions): Resource {
  return defaultResource().merge(resourceFromAttributes(processAttributes(options)))
}
