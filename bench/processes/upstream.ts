/** Stands in for a provider: answers at once, by the request's `stream`, with the least work an HTTP server can do. */
import type { ServerResponse } from 'node:http'
import { EVENT_ANSWER, JSON_ANSWER } from '../provider-answer.ts'
import { listen } from './listen.ts'

const STREAM_WANTED = '"stream":true'
const FIRST_PAUSE_MS = 2
const JSON_HEAD = { 'content-type': 'application/json', 'content-length': JSON_ANSWER.length, 'x-request-id': 'req_7c1f0a52b9e84d36' }
const EVENT_HEAD = { 'content-type': 'text/event-stream; charset=utf-8', 'x-request-id': 'req_7c1f0a52b9e84d36' }

listen((request, response) => {
  let wantsStream = false
  request.on('data', (chunk: Buffer) => {
    wantsStream ||= chunk.includes(STREAM_WANTED)
  })
  request.on('end', () => {
    if (wantsStream) {
      response.writeHead(200, EVENT_HEAD)
      sendFrom(response, 0)
    } else response.writeHead(200, JSON_HEAD).end(JSON_ANSWER)
  })
})

/**
 * One chunk in each turn of the loop: a model's words do not come in one packet. After the first one a pause, so that
 * when it arrives says how long it was on its way, and not how busy the machine is with those behind it.
 */
function sendFrom(response: ServerResponse, index: number): void {
  if (response.destroyed) return
  const chunk = EVENT_ANSWER[index]
  if (!chunk) {
    response.end()
    return
  }
  response.write(chunk)
  if (index === 0) setTimeout(sendFrom, FIRST_PAUSE_MS, response, 1)
  else setImmediate(sendFrom, response, index + 1)
}
