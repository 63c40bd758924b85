/** Searches the files of an application in a thread of its own: they may be long, and the application would wait. */
import { parentPort } from 'node:worker_threads'
import { type CredentialSearch, type CredentialSearchAnswer, searchCredentials } from './credential-search.ts'

parentPort?.on('message', ({ id, question, files }: CredentialSearch) =>
  parentPort?.postMessage({ id, stored: searchCredentials(files, question) } satisfies CredentialSearchAnswer),
)
