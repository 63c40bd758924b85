import type { RequestHandler, Router } from 'express'
import type { OpsDataSource } from './data-source.ts'
import { opsRouter } from './ops-router.ts'
import { OpsState } from './ops-state.ts'

/** The ops page of a server. */
export interface OpsPage {
  /** Everything below `/ops` that belongs to the page. */
  readonly router: Router
  /** Ends the connections of open pages, and stops counting. */
  stop(): void
}

/** Begins to count what `shown` records, and serves the page over it. @param guard Lets through who may see the page and its data. */
export function opsPage(source: OpsDataSource, guard: RequestHandler): OpsPage {
  const state = new OpsState(source)
  return { router: opsRouter(state, guard), stop: () => state.stop() }
}
