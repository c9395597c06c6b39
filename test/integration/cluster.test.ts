import { createHash } from 'node:crypto'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { connect as tcp } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { Api, pause } from '../../src/cluster/api.ts'
import { isTransient } from '../../src/cluster/api-error.ts'
import { externalMetric } from '../../src/cluster/autoscaling.ts'
import { loadKubeconfig, proxyFor } from '../../src/cluster/config.ts'
import { connect } from '../../src/cluster/discover.ts'
import { exec } from '../../src/cluster/exec.ts'
import { fetchFolder } from '../../src/cluster/files.ts'
import { apply, get, isOurs, list, remove } from '../../src/cluster/objects.ts'
import { follow, type WatchChange } from '../../src/cluster/watch.ts'
import { asFailure } from '../../src/errors.ts'
import { type Log, silentLog } from '../../src/log.ts'
import { type ApiServer, startApiServer } from '../sandbox/api/server.ts'
import type { ExecIo } from '../sandbox/runtime.ts'

let server: ApiServer
let lines: string[] = []
const log: Log = { ...silentLog, info: line => void lines.push(line), warning: line => void lines.push(line) }
const signal = () => AbortSignal.timeout(20_000)
const open = (kubeconfig: string, env = {}) =>
  new Api(loadKubeconfig({ kind: 'content', yaml: kubeconfig }, undefined, env), log, { firstDelayMs: 20 })
let api: Api

beforeAll(async () => {
  server = await startApiServer({ bookmarkMs: 200 })
  api = open(server.kubeconfig())
}, 30_000)
afterEach(() => {
  server.faults.clear()
  lines = []
})
afterAll(async () => {
  await api.close()
  await server.close()
})

const config = (name: string, data: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'default' },
  data,
})

describe('retries', () => {
  test('an idempotent request is repeated on 503, with the attempt in the log', async () => {
    server.faults.add({ match: r => r.method === 'GET' && r.path.endsWith('/configmaps/a'), status: 503, times: 2 })
    expect(await get(api, 'ConfigMap', 'default', 'a')).toBeUndefined()
    expect(lines.filter(l => /attempt 2 of 5|attempt 3 of 5/.test(l))).toHaveLength(2)
  })
  test('a connection that is cut is repeated', async () => {
    server.faults.add({ match: r => r.path.endsWith('/configmaps/b'), dropConnection: true, times: 1 })
    expect(await get(api, 'ConfigMap', 'default', 'b')).toBeUndefined()
    expect(lines.join()).toContain('attempt 2 of 5')
  })
  test('the budget ends: five attempts and no more', async () => {
    const before = server.requests().length
    server.faults.add({ match: r => r.path.endsWith('/configmaps/c'), status: 503 })
    await expect(get(api, 'ConfigMap', 'default', 'c')).rejects.toMatchObject({ status: 503 })
    expect(server.requests().slice(before)).toHaveLength(5)
  })
  test('what the caller asks for again by itself is not repeated', async () => {
    const before = server.requests().length
    server.faults.add({ match: r => r.path.endsWith('/inferno_desired_replicas'), status: 503, message: 'away' })
    const ask = { signal: AbortSignal.timeout(20_000), once: true }
    const answer = await externalMetric(api, 'default', 'inferno_desired_replicas', { variant_name: 'a' }, ask)
    expect(answer).toMatchObject({ status: 503, values: [] })
    expect(server.requests().slice(before)).toHaveLength(1)
  })
  test('a POST is not repeated', async () => {
    const before = server.requests().length
    server.faults.add({ match: r => r.method === 'POST', status: 503, times: 1 })
    await expect(
      api.request('POST', '/api/v1/namespaces/default/configmaps', { body: config('d') }),
    ).rejects.toMatchObject({ status: 503 })
    expect(server.requests().slice(before)).toHaveLength(1)
  })
  test('an apply refused with 500 "field not declared in schema" is not transient', async () => {
    const before = server.requests().length
    const deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'typo', namespace: 'default' },
      spec: {
        replica: 2,
        selector: { matchLabels: { a: 'b' } },
        template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
      },
    }
    const error = await apply(api, deployment).catch(e => e)
    expect(error).toMatchObject({ status: 500 })
    expect(error.message).toContain('field not declared in schema')
    expect(isTransient(error)).toBe(false)
    expect(server.requests().slice(before)).toHaveLength(1)
  })
  test('Retry-After is respected', async () => {
    server.faults.add({ match: r => r.path.endsWith('/configmaps/e'), status: 429, retryAfter: 1, times: 1 })
    const started = Date.now()
    await get(api, 'ConfigMap', 'default', 'e')
    expect(Date.now() - started).toBeGreaterThanOrEqual(950)
  })
  test('an abort ends a wait between attempts at once', async () => {
    server.faults.add({ match: r => r.path.endsWith('/configmaps/f'), status: 429, retryAfter: 30 })
    const abort = new AbortController()
    setTimeout(() => abort.abort(new Error('stop')), 100)
    const started = Date.now()
    await expect(get(api, 'ConfigMap', 'default', 'f', abort.signal)).rejects.toThrow('stop')
    expect(Date.now() - started).toBeLessThan(2000)
  })
})

describe('objects', () => {
  test('ours is what carries the ownership label, of this stack when one is named', () => {
    const labelled = (labels?: Record<string, string>) => ({
      ...config('x'),
      metadata: { name: 'x', ...(labels ? { labels } : {}) },
    })
    expect(isOurs(labelled())).toBe(false)
    expect(isOurs(labelled({ 'llm-d.ai/bench-stack': '' }))).toBe(false)
    expect(isOurs(labelled({ 'llm-d.ai/bench-stack': 'a' }))).toBe(true)
    expect(isOurs(labelled({ 'llm-d.ai/bench-stack': 'a' }), 'b')).toBe(false)
    expect(isOurs(labelled({ 'llm-d.ai/bench-stack': 'b' }), 'b')).toBe(true)
  })
  test('apply creates, changes and leaves alone; unknown fields of custom kinds survive', async () => {
    const first = await apply(api, config('g', { a: '1' }))
    const same = await apply(api, config('g', { a: '1' }))
    expect(same.metadata.resourceVersion).toBe(first.metadata.resourceVersion)
    const changed = await apply(api, config('g', { a: '2' }))
    expect(changed.data).toEqual({ a: '2' })
  })
  test('a field of another manager is not taken over: the conflict names owner and field', async () => {
    await api.request('PATCH', '/api/v1/namespaces/default/configmaps/h', {
      query: { fieldManager: 'somebody', force: true },
      contentType: 'application/apply-patch+yaml',
      body: config('h', { a: 'theirs' }),
    })
    const error = await apply(api, config('h', { a: 'ours' })).catch(e => e)
    expect(error).toMatchObject({ status: 409 })
    expect(JSON.stringify(error.causes)).toContain('somebody')
  })
  test('a delete spares an object of the same name that was made since', async () => {
    const old = await apply(api, config('i'))
    server.store.delete('configmaps', 'default', 'i')
    await apply(api, config('i'))
    expect(await remove(api, { ...old, apiVersion: 'v1', kind: 'ConfigMap' })).toBe(false)
    expect(await get(api, 'ConfigMap', 'default', 'i')).toBeDefined()
  })
  test('a long list is read page by page', async () => {
    for (let i = 0; i < 620; i++)
      server.store.create({
        ...config(`many-${i}`),
        metadata: { name: `many-${i}`, namespace: 'default', labels: { many: 'yes' } },
      })
    const { items } = await list(api, 'ConfigMap', 'default', { labelSelector: 'many=yes' })
    expect(items).toHaveLength(620)
    expect(items[0]).toMatchObject({ apiVersion: 'v1', kind: 'ConfigMap' })
  })
})

describe('watch', () => {
  const start = (name: string) => {
    const abort = new AbortController()
    const changes: WatchChange[] = []
    const done = follow(api, 'ConfigMap', 'default', {
      labelSelector: `w=${name}`,
      signal: abort.signal,
      log,
      onChange: c => changes.push(c),
    })
    return { abort, changes, done }
  }
  const labelled = (name: string, w: string) => ({
    ...config(name),
    metadata: { name, namespace: 'default', labels: { w } },
  })
  const until = async (check: () => boolean) => {
    for (let i = 0; i < 200 && !check(); i++) await pause(25)
    expect(check()).toBe(true)
  }
  test('it resumes after the connection was cut, and nothing is seen twice', async () => {
    const w = start('one')
    server.store.create(labelled('w1', 'one'))
    await until(() => w.changes.length === 1)
    server.faults.dropWatches()
    server.store.create(labelled('w2', 'one'))
    await until(() => w.changes.length === 2)
    expect(w.changes.map(c => c.object.metadata.name)).toEqual(['w1', 'w2'])
    w.abort.abort()
    await w.done
  })
  test('after 410 it lists again and reports what vanished meanwhile', async () => {
    const w = start('two')
    server.store.create(labelled('x1', 'two'))
    await until(() => w.changes.length === 1)
    server.faults.add({ match: r => r.query.watch === 'true', status: 503, times: 2 })
    server.faults.dropWatches()
    server.store.delete('configmaps', 'default', 'x1')
    server.store.create(labelled('x2', 'two'))
    server.faults.compact()
    await until(() => w.changes.length === 3)
    expect(
      w.changes
        .slice(1)
        .map(c => `${c.type} ${c.object.metadata.name}`)
        .sort(),
    ).toEqual(['ADDED x2', 'DELETED x1'])
    w.abort.abort()
    await w.done
  }, 20_000)
  test('a right that is missing ends it', async () => {
    const limited = open(
      server.kubeconfig({ token: server.tokens.add({ name: 'nobody', groups: [], policy: () => false }) }),
    )
    await expect(
      follow(limited, 'ConfigMap', 'default', { signal: signal(), log, onChange: () => undefined }),
    ).rejects.toMatchObject({ status: 403 })
    await limited.close()
  })
})

describe('exec and files', () => {
  const target = { namespace: 'default', pod: 'p', container: 'c' }
  let run: (argv: readonly string[], io: ExecIo) => Promise<number>
  beforeAll(() => {
    server.store.create({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p', namespace: 'default' },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    })
    server.setRuntime({
      async *logs() {
        yield Buffer.from('line\n')
      },
      exec: (_ns, _pod, _c, argv, io) => run(argv, io),
    })
  })
  /** Runs the command for real, in a folder of this machine. */
  const local = async (argv: readonly string[], io: ExecIo): Promise<number> => {
    const { spawn } = await import('node:child_process')
    const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.on('data', chunk => void io.stdout(chunk))
    child.stderr.on('data', chunk => void io.stderr(chunk))
    return new Promise(resolve => child.on('close', code => resolve(code ?? 1)))
  }

  test('the exit code comes from the status frame', async () => {
    run = local
    const out: Buffer[] = []
    const result = await exec(api, target, ['sh', '-c', 'echo out; echo err >&2; exit 3'], {
      signal: signal(),
      onStdout: c => out.push(c),
    })
    expect({ ...result, out: Buffer.concat(out).toString() }).toEqual({ exitCode: 3, stderr: 'err\n', out: 'out\n' })
  })
  test('a connection that ends before the command is an error, not a hang', async () => {
    run = async () => {
      setTimeout(() => server.faults.dropWatches(), 50)
      return new Promise(() => undefined)
    }
    await expect(exec(api, target, ['sleep', '60'], { signal: signal() })).rejects.toMatchObject({
      status: 0,
      code: 'ECONNRESET',
    })
  })
  test('a missing pod and a missing container are answers of the server', async () => {
    run = local
    await expect(exec(api, { ...target, pod: 'nope' }, ['true'], { signal: signal() })).rejects.toMatchObject({
      status: 404,
    })
    await expect(exec(api, { ...target, container: 'nope' }, ['true'], { signal: signal() })).rejects.toMatchObject({
      status: 400,
    })
  })
  test('B68: a folder arrives with the size and SHA-256 that the pod computed, also from names with spaces', async () => {
    run = local
    const source = await mkdtemp(path.join(tmpdir(), 'bench-source-'))
    const big = Buffer.alloc(5_000_000, 'x')
    await writeFile(path.join(source, 'big file.bin'), big)
    await writeFile(path.join(source, 'empty'), '')
    const destination = path.join(await mkdtemp(path.join(tmpdir(), 'bench-dest-')), 'r1')
    const files = await fetchFolder(api, target, source, destination, { signal: signal(), log })
    expect(files.map(f => [f.path, f.bytes]).sort()).toEqual([
      ['big file.bin', 5_000_000],
      ['empty', 0],
    ])
    expect(files.find(f => f.bytes > 0)!.sha256).toBe(createHash('sha256').update(big).digest('hex'))
    expect((await readFile(path.join(destination, 'big file.bin'))).equals(big)).toBe(true)
  })
  test('a tar stream that is cut short is noticed and fetched again', async () => {
    const source = await mkdtemp(path.join(tmpdir(), 'bench-source-'))
    await writeFile(path.join(source, 'a'), 'x'.repeat(100_000))
    let tars = 0
    run = async (argv, io) => {
      if (argv[0] !== 'tar' || ++tars > 1) return local(argv, io)
      const chunks: Uint8Array[] = []
      await local(argv, { ...io, stdout: c => void chunks.push(Buffer.from(c)) })
      await io.stdout(Buffer.concat(chunks).subarray(0, 50_000))
      return 0
    }
    const destination = path.join(await mkdtemp(path.join(tmpdir(), 'bench-dest-')), 'r1')
    const files = await fetchFolder(api, target, source, destination, { signal: signal(), log })
    expect(files).toHaveLength(1)
    expect(tars).toBe(2)
    expect(lines.join()).toContain('attempt 2 of 3')
  }, 20_000)
  test('a file whose bytes changed on the way is noticed, although the stream was whole', async () => {
    const source = await mkdtemp(path.join(tmpdir(), 'bench-source-'))
    await writeFile(path.join(source, 'a'), 'x'.repeat(1000))
    run = async (argv, io) => {
      if (argv[0] !== 'tar') return local(argv, io)
      const chunks: Uint8Array[] = []
      await local(argv, { ...io, stdout: c => void chunks.push(Buffer.from(c)) })
      await io.stdout(Buffer.from(Buffer.concat(chunks).toString('latin1').replaceAll('xxxx', 'xxxy'), 'latin1'))
      return 0
    }
    const destination = path.join(await mkdtemp(path.join(tmpdir(), 'bench-dest-')), 'r1')
    const error = await fetchFolder(api, target, source, destination, { signal: signal(), log }).catch(e => e)
    expect(asFailure(error)).toMatchObject({ code: 'RESULTS', why: expect.stringContaining("differ from the pod's") })
  }, 20_000)
  test('a name that leads out of the folder is refused', async () => {
    run = async (argv, io) => {
      if (argv[0] !== 'sh') return 1
      await io.stdout(Buffer.from(`5 ${'0'.repeat(64)} ./../../etc/passwd\n`))
      return 0
    }
    const error = await fetchFolder(api, target, '/x', path.join(tmpdir(), 'never'), { signal: signal(), log }).catch(
      e => e,
    )
    expect(asFailure(error)).toMatchObject({ code: 'RESULTS' })
    expect(asFailure(error).what).toContain('unsafe name')
  })
})

describe('B12: one kubeconfig decides how the cluster is reached', () => {
  /** A CONNECT proxy that counts its tunnels. */
  async function startProxy(): Promise<{ url: string; tunnels: () => number; server: Server }> {
    let tunnels = 0
    const proxy = createServer((_q, s) => s.writeHead(405).end())
    proxy.on('connect', (request, socket) => {
      tunnels++
      const [host, port] = (request.url ?? '').split(':')
      const upstream = tcp(Number(port), host, () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n')
        upstream.pipe(socket).pipe(upstream)
      })
      upstream.on('error', () => socket.destroy())
      socket.on('error', () => upstream.destroy())
    })
    await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
    return {
      url: `http://127.0.0.1:${(proxy.address() as { port: number }).port}`,
      tunnels: () => tunnels,
      server: proxy,
    }
  }

  test('proxy-url of the kubeconfig is used for requests and exec', async () => {
    const proxy = await startProxy()
    const through = open(server.kubeconfig({ proxyUrl: proxy.url }))
    await connect(through, signal())
    expect(proxy.tunnels()).toBeGreaterThan(0)
    const before = proxy.tunnels()
    await exec(through, { namespace: 'default', pod: 'nope', container: 'c' }, ['true'], { signal: signal() }).catch(
      () => undefined,
    )
    expect(proxy.tunnels()).toBeGreaterThan(before)
    await through.close()
    proxy.server.close()
  })
  test('HTTPS_PROXY is used, and NO_PROXY exempts', async () => {
    const proxy = await startProxy()
    const through = open(server.kubeconfig(), { HTTPS_PROXY: proxy.url })
    await connect(through, signal())
    expect(proxy.tunnels()).toBeGreaterThan(0)
    const before = proxy.tunnels()
    const direct = open(server.kubeconfig(), { HTTPS_PROXY: proxy.url, NO_PROXY: 'localhost,127.0.0.1' })
    await connect(direct, signal())
    expect(proxy.tunnels()).toBe(before)
    await Promise.all([through.close(), direct.close()])
    proxy.server.close()
  })
  test.each([
    ['https://api.example.com:6443', 'example.com', undefined],
    ['https://api.example.com:6443', '.example.com', undefined],
    ['https://api.example.com:6443', 'other.com', 'http://p:1'],
    ['https://api.example.com:6443', 'example.com:443', 'http://p:1'],
    ['https://api.example.com:6443', '*', undefined],
    ['https://badexample.com', 'example.com', 'http://p:1'],
  ])('proxy for %s with NO_PROXY=%s', (url, noProxy, expected) => {
    expect(proxyFor(url, { https_proxy: 'p:1', no_proxy: noProxy })).toBe(expected)
  })
})
