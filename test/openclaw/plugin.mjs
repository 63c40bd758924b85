/**
 * What a plugin does that refreshes on its own, for each of three things it has to do at once, and reports none.
 *
 * Parameters: OpenClaw's `plugin-sdk/agent-runtime`, the credential as JSON.
 */
const [runtime, credential] = process.argv.slice(2)
const { refreshOAuthCredentialForRuntime } = await import(runtime)

async function freshCredential() {
  return await refreshOAuthCredentialForRuntime({ credential: JSON.parse(credential) })
}

const results = await Promise.allSettled([freshCredential(), freshCredential(), freshCredential()])
process.stdout.write(results.map(({ status }) => status).join(' '))
process.exit(0)
