/**
 * The environment of a child process that is to have nothing but what is named, beside `PATH` and Node's compile cache.
 *
 * Without the cache each command strips and compiles the modules it loads again: 1.3 s of CPU instead of 0.5 s.
 */
export function bareEnvironment(named: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const { PATH = '', NODE_COMPILE_CACHE } = process.env
  return { PATH, ...(NODE_COMPILE_CACHE && { NODE_COMPILE_CACHE }), ...named }
}
