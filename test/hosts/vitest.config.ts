import { defineConfig } from 'vitest/config'

/** A run of its own: it packs this repository and installs it in hosts whose packages come from the registry. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['hosts.spec.ts'],
    experimental: { viteModuleRunner: false },
    pool: 'forks',
    maxConcurrency: 2,
    testTimeout: 120_000,
    hookTimeout: 240_000,
    expect: { requireAssertions: true },
    allowOnly: false,
    reporters: process.env.CI ? ['default', ['json', { outputFile: '../output/hosts.json' }]] : ['default'],
  },
})
