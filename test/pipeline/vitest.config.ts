import { defineConfig } from 'vitest/config'

/** The shipped pipeline with a real collector, Prometheus, Alertmanager and Jaeger; they are no part of `npm test`. */
export default defineConfig({
  test: {
    include: ['test/pipeline/*.spec.ts'],
    experimental: { viteModuleRunner: false },
    pool: 'forks',
    testTimeout: 120_000,
    hookTimeout: 300_000,
    expect: { requireAssertions: true },
    chaiConfig: { truncateThreshold: 2_000 },
    allowOnly: false,
    passWithNoTests: false,
  },
})
