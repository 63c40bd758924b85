import { defineConfig } from 'vitest/config'

/** A run of its own: it needs what `npm ci --prefix test/clients` installs. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['clients.spec.ts'],
    experimental: { viteModuleRunner: false },
    pool: 'forks',
    hookTimeout: 240_000,
    expect: { requireAssertions: true },
    chaiConfig: { truncateThreshold: 2_000 },
    allowOnly: false,
    reporters: process.env.CI ? ['default', ['json', { outputFile: '../output/clients.json' }]] : ['default'],
  },
})
