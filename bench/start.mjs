// Start of the bundled action against bare node. Prints, for each mode, the median time from spawn to its first API
// byte (or to the exit where no cluster is needed) over that of an empty script. Figures are medians of interleaved runs.
import { spawn } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'

const runs = Number(process.argv[2] ?? 15)
const dir = mkdtempSync(path.join(tmpdir(), 'bench-start-'))
writeFileSync(path.join(dir, 'empty.mjs'), '')
let firstByte
const server = createServer((_request, response) => {
  firstByte?.(performance.now())
  response
    .writeHead(401, { 'content-type': 'application/json' })
    .end('{"kind":"Status","message":"Unauthorized","reason":"Unauthorized","code":401}')
})
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
const kubeconfig = JSON.stringify({
  apiVersion: 'v1',
  kind: 'Config',
  'current-context': 'c',
  clusters: [
    { name: 'c', cluster: { server: `http://127.0.0.1:${server.address().port}`, 'insecure-skip-tls-verify': true } },
  ],
  users: [{ name: 'u', user: { token: 't-0123456789abcdef' } }],
  contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
})
const env = {
  PATH: process.env.PATH,
  HOME: dir,
  RUNNER_TEMP: dir,
  GITHUB_OUTPUT: path.join(dir, 'o'),
  GITHUB_STATE: path.join(dir, 's'),
}
for (const f of ['o', 's']) writeFileSync(path.join(dir, f), '')

/** Milliseconds from spawn to the first API byte, or to the exit. */
function time(args, extra, untilByte) {
  return new Promise(resolve => {
    const started = performance.now()
    let done = false
    const finish = at => {
      if (done) return
      done = true
      resolve(at - started)
    }
    firstByte = untilByte ? finish : undefined
    const child = spawn(process.execPath, args, { env: { ...env, ...extra }, stdio: 'ignore' })
    child.on('close', () => finish(performance.now()))
  })
}
const cases = {
  'bare node': () => time([path.join(dir, 'empty.mjs')], {}, false),
  'teardown to first API byte': () =>
    time(['dist/index.js'], { INPUT_MODE: 'teardown', INPUT_NAMESPACE: 'bench', INPUT_KUBECONFIG: kubeconfig }, true),
  'dry run without a cluster': () =>
    time(['dist/index.js'], { INPUT_MODE: 'run', 'INPUT_DRY-RUN': 'true', INPUT_NAMESPACE: 'bench' }, false),
  'bad input': () => time(['dist/index.js'], { INPUT_MODE: 'nonsense' }, false),
}
const figures = Object.fromEntries(Object.keys(cases).map(name => [name, []]))
for (let i = 0; i < runs; i++) {
  for (const [name, run] of Object.entries(cases)) {
    figures[name].push(await run())
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}
const median = values => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]
const bare = median(figures['bare node'])
for (const [name, values] of Object.entries(figures)) {
  const m = median(values)
  console.log(
    `${name.padEnd(30)} median ${m.toFixed(0).padStart(5)} ms   over bare node ${(m - bare).toFixed(0).padStart(5)} ms`,
  )
}
console.log('budgets over bare node: 250 ms to the first API byte, 120 ms for modes without Kubernetes')
server.close()
server.closeAllConnections()
