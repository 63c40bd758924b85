/** What the process's exit code says; scripts can rely on these. */
export const EXIT = {
  good: 0,
  /** A profile is dead or missing, or what was asked for failed; of findings: a dead login, money spent, a storm. */
  dead: 1,
  /** A profile expires soon, rests, serves from memory only, or its probe and its calls disagree; any other finding. */
  warning: 2,
  /** The gateway that was asked does not answer. */
  unreachable: 3,
  /** Arguments or configuration cannot be used (EX_USAGE of sysexits.h). */
  usage: 64,
  /** A fault of Gatewatch itself (EX_SOFTWARE). */
  fault: 70,
  /** The gateway ended with a new token that it could not store (EX_IOERR): stderr names the profile, which needs a login. */
  unsaved: 74,
  /** Broken off by a signal. */
  interrupted: 130,
} as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]
