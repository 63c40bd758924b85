const { runHost } = require('./host.cjs')

const copies = (process.env.HOST_COPIES ?? 'gatewatch').split(',')
runHost({
  api: require('@opentelemetry/api'),
  express: require('express'),
  http: require('node:http'),
  gatewatches: copies.map(name => ({ ...require(name), ...require(`${name}/express`) })),
})
