import type { Overview } from '../api-types.ts'
import type { PageAddress } from './address.ts'
import type { Child } from './element.ts'

export type FilterName = 'window' | 'profile' | 'reason' | 'outcome' | 'via'

/** What a view is shown with. */
export interface ViewContext {
  readonly place: PageAddress
  readonly overview: Overview
  /** Changes filters of this view; `''` takes one away. */
  change(parameters: Readonly<Record<string, string>>): void
  /** Asks again. */
  renew(): void
  /** Says something in passing, to eyes and screen readers. */
  say(text: string): void
}

/** Asks one data endpoint with the filters of the place. */
export type Ask = <T>(endpoint: string, more?: Readonly<Record<string, string>>) => Promise<T>

/** One view of the page: what it asks for, and how it shows it. */
export interface View<Answer> {
  readonly name: string
  readonly title: string
  /** The question it answers. */
  readonly question: string
  readonly filters: readonly FilterName[]
  load(ask: Ask, place: PageAddress): Promise<Answer>
  show(answer: Answer, context: ViewContext): readonly Child[]
  /** For an issue. */
  markdown(answer: Answer, context: ViewContext): string
  /** More to do with what is shown, beside copying it. */
  actions?(answer: Answer, context: ViewContext): readonly Child[]
}
