import { defineConfig } from 'vitest/config'

/** The tests against the real OpenClaw; they need the npm registry and are no part of `npm test`. */
export default defineConfig({
  test: {
    include: ['test/openclaw/*.spec.ts'],
    globalSetup: ['test/openclaw/global-setup.ts'],
    experimental: { viteModuleRunner: false },
    pool: 'forks',
    testTimeout: 900_000,
    hookTimeout: 30_000,
    expect: { requireAssertions: true },
    chaiConfig: { truncateThreshold: 2_000 },
    allowOnly: false,
    setupFiles: ['test/support/after-each.ts'],
    reporters: process.env.CI ? ['default', ['json', { outputFile: 'test/output/openclaw.json' }]] : ['default'],
  },
})
