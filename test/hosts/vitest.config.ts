import { defineConfig } from 'vitest/config'

/** A run of its own: it builds, packs and installs this repository, in hosts too whose packages come from the registry. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['*.spec.ts'],
    experimental: { viteModuleRunner: false },
    pool: 'forks',
    maxConcurrency: 2,
    testTimeout: 120_000,
    hookTimeout: 240_000,
    expect: { requireAssertions: true },
    chaiConfig: { truncateThreshold: 2_000 },
    allowOnly: false,
    reporters: process.env.CI ? ['default', ['json', { outputFile: '../output/hosts.json' }]] : ['default'],
  },
})
