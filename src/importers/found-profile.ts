import type { Credential } from '../domain/credential.ts'

/** A profile as it is in a source, ready to be taken over. */
export interface FoundProfile {
  /** Id it gets here unless another one is given. May carry an e-mail address. */
  readonly id: string
  readonly provider: string
  readonly credential: Credential
  /** What its owner says about it, in sentences for people. */
  readonly notes: readonly string[]
}

/** A profile that cannot be taken over. */
export interface UnusableProfile {
  readonly id: string
  readonly provider: string
  /** Why not, and what to do. Never a value. */
  readonly why: string
}

/** Everything one source holds. */
export interface Reading {
  /** Files it was read from. */
  readonly places: readonly string[]
  readonly found: readonly FoundProfile[]
  readonly unusable: readonly UnusableProfile[]
  /** Ids in the order in which the source tries them; empty where it has none. */
  readonly order: readonly string[]
  /** What else the user should know, in sentences. */
  readonly notes: readonly string[]
}

/** Where a source is looked for. */
export interface SourceLocation {
  /** File or folder; without it, where the application keeps it. */
  readonly path?: string
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly home: string
}
