import { LEAST_NODE } from '../tools/least-node.ts'

/**
 * The option of `NODE_OPTIONS` by which Node loads the preload, and starts the application even where it cannot load it.
 *
 * A preload whose file Node may not read, or whose language it does not know, ends the process before the first line of the
 * application: Node 20 has no TypeScript, `--permission` allows the folders of the application only. A `data:` URL needs no
 * file: its module imports the preload, and writes one line on stderr where that fails.
 *
 * @param register URL of the preload, `src/register`.
 * @returns Text without spaces and quotes, at which `NODE_OPTIONS` would be split.
 */
export function preloadOption(register: string): string {
  return `--import=data:text/javascript,${encodeURIComponent(moduleText(register)).replaceAll("'", '%27')}`
}

/** Plain JavaScript for any Node that has `--import`; no file of Gatewatch can be used before it is known to be readable. */
function moduleText(register: string): string {
  return [
    "import{writeSync}from'node:fs';",
    "const number=version=>version.split('.').reduce((sum,part)=>sum*1000+parseInt(part,10),0),running=process.versions.node;",
    'try{',
    `if(number(running)<number('${LEAST_NODE}'))throw new Error('Node '+running+' is too old, ${LEAST_NODE} or newer is needed');`,
    `await import(${JSON.stringify(register)})`,
    '}catch(fault){',
    "const reason=fault.code==='ERR_ACCESS_DENIED'?'the permission model of Node denies access to the files of Gatewatch (--allow-fs-read)':String(fault.message).split('\\n')[0];",
    "try{writeSync(2,'gatewatch: not watching this process: '+reason+'\\n')}catch{}",
    '}',
  ].join('')
}
