/**
 * Gate frames of known applications: the functions that hold the application's own lock while a token is refreshed.
 *
 * `openclaw` (2026.5.14-beta.1, read and run; src/agents/auth-profiles/oauth-manager.ts): every refresh of the manager
 * goes through `refreshOAuthTokenWithLock`, which queues, and `doRefreshOAuthTokenWithLock`, which holds the lock files.
 * `refreshOAuthCredentialForRuntime` and `refreshRuntimeAuth` go past both.
 */
export const PRESETS: Readonly<Record<string, readonly string[]>> = {
  openclaw: ['doRefreshOAuthTokenWithLock', 'refreshOAuthTokenWithLock'],
}
