import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { type ApiServer, startApiServer } from '../sandbox/api/server.ts'
import type { PodRuntime } from '../sandbox/runtime.ts'

const cacheRoot = process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache')
const cache = process.env.BENCH_ACTION_CACHE ?? path.join(cacheRoot, 'bench-action')
const kubectl = process.env.BENCH_KUBECTL ?? path.join(cache, 'kubectl-1.35.2', 'kubectl')
const present = existsSync(kubectl)
const title = present
  ? 'a stock kubectl on the sandbox'
  : `SKIPPED, NO KUBECTL at ${kubectl}: run "node scripts/fetch-kubectl.mjs" or set BENCH_KUBECTL`

/** The "node": logs are lines over time, exec is a process of this machine. */
const runtime: PodRuntime = {
  async *logs(_namespace, _pod, _container, options) {
    for (let line = 1; line <= 3; line++) {
      yield Buffer.from(`line ${line}\n`)
      if (options.follow) await delay(50)
    }
  },
  async exec(_namespace, _pod, _container, [command = '', ...args], io) {
    const child = spawn(command, args)
    const pump = async (from: AsyncIterable<Uint8Array>, to: (chunk: Uint8Array) => Promise<void> | undefined) => {
      for await (const chunk of from) await to(chunk)
    }
    const outputs = [pump(child.stdout, io.stdout), pump(child.stderr, io.stderr)]
    if (io.stdin) {
      for await (const chunk of io.stdin) child.stdin.write(chunk)
    }
    child.stdin.end()
    const [[code]] = await Promise.all([once(child, 'close'), ...outputs])
    return Number(code)
  },
}

const manifest = (replicas: number, typo = ''): string => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas${typo}: ${replicas}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "nginx:1"}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gate, namespace: default}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
`

// The runner does not print the names of skipped suites.
if (!present) process.stderr.write(`\n${title}\n\n`)

;(present ? describe : describe.skip)(title, () => {
  let server: ApiServer
  let folder: string
  beforeAll(async () => {
    server = await startApiServer()
    server.setRuntime(runtime)
    folder = mkdtempSync(path.join(tmpdir(), 'kubectl-test-'))
    writeFileSync(path.join(folder, 'config'), server.kubeconfig(), { mode: 0o600 })
    const spec = { nodeName: 'n1', containers: [{ name: 'main', image: 'nginx:1' }] }
    server.store.create({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web', namespace: 'default' }, spec })
    const containerStatuses = [{ name: 'main', ready: true, restartCount: 0, state: { running: {} } }]
    server.store.patchStatus('pods', 'default', 'web', { phase: 'Running', containerStatuses })
  })
  afterAll(async () => {
    await server.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const start = (...args: string[]) => {
    const env = { PATH: process.env.PATH, HOME: folder, KUBECONFIG: path.join(folder, 'config') }
    return spawn(kubectl, args, { env })
  }
  const run = async (args: string[], stdin: string | Buffer = '') => {
    const child = start(...args)
    child.stdin.end(stdin)
    const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    return { code: Number(code), out, err }
  }

  test('get finds the server, its kinds and its objects', async () => {
    expect((await run(['get', 'pods', '-o', 'name'])).out).toBe('pod/web\n')
    expect((await run(['version', '-o', 'json'])).out).toContain('+sandbox')
    expect((await run(['get', 'variantautoscalings', '-A'])).err).toBe('No resources found\n')
    expect(await run(['get', 'pods', 'nope'])).toEqual({
      code: 1,
      out: '',
      err: 'Error from server (NotFound): pods "nope" not found\n',
    })
  })

  test('apply --server-side creates, changes, repeats, and hears of conflicts and typing errors', async () => {
    const apply = (yaml: string, ...more: string[]) => run(['apply', '--server-side', ...more, '-f', '-'], yaml)
    const first = await apply(manifest(2))
    expect(first.out).toBe(
      'deployment.apps/web serverside-applied\ngateway.gateway.networking.k8s.io/gate serverside-applied\n',
    )
    const version = server.store.resourceVersion
    expect((await apply(manifest(2))).code).toBe(0)
    expect(server.store.resourceVersion).toBe(version)
    const conflict = await apply(manifest(3), '--field-manager=other')
    expect(conflict.err).toContain('Apply failed with 1 conflict: conflict with "kubectl": .spec.replicas')
    expect((await apply(manifest(3), '--field-manager=other', '--force-conflicts')).code).toBe(0)
    expect((await run(['get', 'deploy', 'web', '-o', 'jsonpath={.spec.replicas}'])).out).toBe('3')
    expect((await apply(manifest(3, 'X'))).err).toContain('.spec.replicasX: field not declared in schema')
    expect((await apply(manifest(3), '--validate=false', '--force-conflicts')).code).toBe(0)
  })

  test('scale, label, patch and delete change what they say', async () => {
    await run(['apply', '-f', '-'], manifest(1))
    expect((await run(['scale', 'deploy/web', '--replicas=4'])).out).toBe('deployment.apps/web scaled\n')
    await run(['label', 'deploy/web', 'color=blue'])
    await run(['patch', 'deploy/web', '--type=json', '-p', '[{"op":"replace","path":"/spec/replicas","value":5}]'])
    const seen = await run(['get', 'deploy', '-l', 'color=blue', '-o', 'jsonpath={.items[*].spec.replicas}'])
    expect(seen.out).toBe('5')
    expect((await run(['delete', 'deploy', 'web', '--timeout=10s'])).code).toBe(0)
    expect(server.store.get('deployments.apps', 'default', 'web')).toBeUndefined()
  })

  test('get --watch prints changes as they come', async () => {
    const child = start('get', 'configmaps', '--watch', '-o', 'name')
    let out = ''
    child.stdout.on('data', chunk => {
      out += String(chunk)
    })
    const until = async (wanted: RegExp) => {
      for (let i = 0; i < 300 && !wanted.test(out); i++) await delay(20)
    }
    const create = (name: string) =>
      server.store.create({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default' } })
    create('one')
    await until(/one/)
    create('two')
    await until(/two/)
    child.kill('SIGKILL')
    await once(child, 'close')
    expect(out).toBe('configmap/one\nconfigmap/two\n')
  })

  test('logs -f follows to the end of the container', async () => {
    expect((await run(['logs', '-f', 'web'])).out).toBe('line 1\nline 2\nline 3\n')
  })

  test('exec passes on both outputs, stdin and the exit code', async () => {
    const failed = await run(['exec', 'web', '--', 'sh', '-c', 'echo out; echo err >&2; exit 3'])
    expect(failed).toEqual({ code: 3, out: 'out\n', err: 'err\ncommand terminated with exit code 3\n' })
    const bytes = Buffer.alloc(8 * 1024 * 1024, 'abc')
    expect((await run(['exec', '-i', 'web', '--', 'wc', '-c'], bytes)).out.trim()).toBe(String(bytes.length))
    expect((await run(['exec', 'web', '--', 'head', '-c', '8388608', '/dev/zero'])).out).toHaveLength(8388608)
  })
})
