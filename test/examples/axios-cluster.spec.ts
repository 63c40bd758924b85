import { describeStyle } from './acceptance.ts'

describeStyle({
  name: 'axios-cluster',
  accounts: ['work'],
  path: route => route,
  callers: {
    bypass: 'gateway.js#quota',
    fallback: 'gateway.js#fallBack',
    retries: 'gateway.js#summarise',
    refresh: 'server.js#refresh',
  },
})
