/** What is used of the library that decodes source maps. A module of its own: most processes never load it. */
export { decodedMappings, originalPositionFor, TraceMap } from '@jridgewell/trace-mapping'
