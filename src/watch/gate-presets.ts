/** What is known of an application that runs unmodified. */
export interface Preset {
  /** Frames of its refresh gate. */
  readonly gate: readonly string[]
  /** Functions that everybody passes on the way to a refresh; the caller is who is outside of them. */
  readonly approach: readonly string[]
  /** Files in which it keeps its tokens; `~` is the home folder, `*` stands for one folder or file. */
  readonly credentials: (environment: Readonly<Record<string, string | undefined>>) => readonly string[]
}

/**
 * Known applications.
 *
 * `openclaw` (2026.5.14-beta.1, read and run; src/agents/auth-profiles/oauth-manager.ts): every refresh of the manager
 * goes through `refreshOAuthTokenWithLock`, which queues, and `doRefreshOAuthTokenWithLock`, which holds the lock files.
 * `refreshOAuthCredentialForRuntime` and `refreshRuntimeAuth` go past both. Its profiles lie below its state folder.
 * 2026.9.6 (read and run) has no `doRefreshOAuthTokenWithLock`, and the stack of its refresh is cut at an arrow within
 * `refreshOAuthTokenWithLock`: what it sends is uncertain.
 */
export const PRESETS: Readonly<Record<string, Preset>> = {
  openclaw: {
    gate: ['doRefreshOAuthTokenWithLock', 'refreshOAuthTokenWithLock'],
    approach: ['refreshOAuthCredential', 'resolveOAuthAccess', 'resolveApiKeyForProfile', 'resolveApiKeyForProvider'],
    credentials: ({ OPENCLAW_STATE_DIR }) => [`${OPENCLAW_STATE_DIR || '~/.openclaw'}/agents/*/agent/auth-profiles.json`],
  },
}
