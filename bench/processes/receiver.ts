/** Stands in for an OpenTelemetry collector: takes whatever is exported and says that all is well. */
import { listen } from './listen.ts'

listen((request, response) => {
  request.resume()
  request.on('end', () => response.writeHead(200, { 'content-type': 'application/x-protobuf', 'content-length': 0 }).end())
})
