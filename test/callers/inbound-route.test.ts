import { describe, expect, it } from 'vitest'
import { routeOf } from '../../src/callers/inbound-route.ts'

describe('the route of an inbound request', () => {
  it.each([
    ['/v1/chat/completions', 'POST /v1/chat/completions'],
    ['/', 'POST /'],
    ['/users/4711/turns?key=sk-secret', 'POST /users/:id/turns'],
    ['/hook/wobblypenguinmarmaladewobbly', 'POST /hook/:id'],
    ['/mail/me%40example.com', 'POST /mail/:id'],
    ['/a/b/c/d/e/f/g/h', 'POST /a/b/c/d/e/f/…'],
  ])('of %s is %s: what is particular to it is left out', (url, route) => {
    expect(routeOf('POST', url)).toBe(route)
  })
})
