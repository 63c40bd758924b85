import { ATTR_IMPORT_COUNTS, ATTR_IMPORT_DRY_RUN, ATTR_IMPORT_SOURCE, SPAN_IMPORT } from '../../otel/semconv.ts'
import { callerAttributes } from '../callers/caller.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import { IMPORT_OUTCOMES } from '../domain/enums.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { type ImportOptions, importProfiles, type ProfileImport } from './profile-import.ts'

/**
 * Imports under a span with its caller, its source and the profiles by outcome, and counts those; a dry run counts none.
 *
 * @throws what `importProfiles` throws.
 */
export function recordImport(telemetry: Telemetry, caller: CallerSite, options: ImportOptions): Promise<ProfileImport> {
  const { source, dryRun = false } = options
  const attributes = { [ATTR_IMPORT_SOURCE]: source, [ATTR_IMPORT_DRY_RUN]: dryRun, ...callerAttributes(caller) }
  return telemetry.inSpan(SPAN_IMPORT, { attributes }, async span => {
    const imported = await importProfiles(options)
    for (const outcome of IMPORT_OUTCOMES)
      span.setAttribute(ATTR_IMPORT_COUNTS[outcome], imported.profiles.filter(profile => profile.outcome === outcome).length)
    if (!dryRun)
      for (const { provider, outcome } of imported.profiles)
        telemetry.instruments.add('imports', { application: source, provider, outcome })
    return imported
  })
}
