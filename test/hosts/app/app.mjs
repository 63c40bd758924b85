import http from 'node:http'
import * as api from '@opentelemetry/api'
import express from 'express'
import host from './host.cjs'

const copies = (process.env.HOST_COPIES ?? 'gatewatch').split(',')
await host.runHost({
  api,
  express,
  http,
  gatewatches: await Promise.all(copies.map(async name => ({ ...(await import(name)), ...(await import(`${name}/express`)) }))),
})
