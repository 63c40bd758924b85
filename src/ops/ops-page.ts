import type { RequestHandler, Router } from 'express'
import type { Shown } from './data-source.ts'
import { opsRouter } from './ops-router.ts'
import { OpsDesk } from './ops-state.ts'

/** The ops page of a server. */
export interface OpsPage {
  /** Everything below `/ops` that belongs to the page. */
  readonly router: Router
  /** Ends the connections of open pages, and stops counting. */
  stop(): void
}

/** Begins to count what `shown` records, and serves the page over it. @param guard Lets through who may see the page and its data. */
export function opsPage(shown: Shown, guard: RequestHandler): OpsPage {
  const desk = new OpsDesk(shown)
  return { router: opsRouter(desk, guard), stop: () => desk.stop() }
}
