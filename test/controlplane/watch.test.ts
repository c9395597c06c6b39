import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterAll, expect, test } from '@jest/globals'
import { pause } from '../../src/cluster/api.ts'
import { apply, create, get, mergePatch, remove } from '../../src/cluster/objects.ts'
import { follow, type WatchChange } from '../../src/cluster/watch.ts'
import { type Log, silentLog } from '../../src/log.ts'
import type { KubeObject } from '../../src/stack/kube.ts'
import { freshNamespace, open, ring } from './ring.ts'

const api = open()
const ends: (() => unknown)[] = [() => api.close()]
afterAll(() => Promise.all(ends.map(end => end())))

/** A wire to the API server that can be cut: until it is mended, nothing gets through. */
async function wire(): Promise<{ url: string; cut(): void; mend(): void }> {
  let whole = true
  const open = new Set<Socket>()
  const server: Server = createServer(socket => {
    if (!whole) return void socket.destroy()
    const out = connect(Number(new URL(ring.url).port), '127.0.0.1')
    for (const [one, other] of [
      [socket, out],
      [out, socket],
    ] as const) {
      open.add(one)
      one
        .on('error', () => undefined)
        .on('close', () => {
          open.delete(one)
          other.destroy()
        })
      one.pipe(other)
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const cut = () => {
    whole = false
    for (const socket of open) socket.destroy()
  }
  ends.push(() => {
    cut()
    server.close()
  })
  const mend = () => {
    whole = true
  }
  return { url: `https://127.0.0.1:${(server.address() as { port: number }).port}`, cut, mend }
}

const config = (namespace: string, name: string): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: {} },
})
const event = (namespace: string, name: string): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'Event', metadata: { name, namespace }, message: name, reason: 'Test', type: 'Normal' },
  involvedObject: { apiVersion: 'v1', kind: 'Pod', name: 'p', namespace },
})
async function until(seen: () => string[], last: string): Promise<void> {
  for (const deadline = Date.now() + 20_000; !seen().includes(last) && Date.now() < deadline; ) await pause(25)
  expect(seen()).toContain(last)
}

async function followed(kind: 'ConfigMap' | 'Event', namespace: string) {
  const line = await wire()
  const debug: string[] = []
  const log: Log = { ...silentLog, debug: text => void debug.push(text) }
  const client = open({ server: line.url, log })
  const changes: WatchChange[] = []
  const stop = new AbortController()
  const synced = Promise.withResolvers<void>()
  const over = follow(client, kind, namespace, {
    ...{ signal: stop.signal, log, onChange: change => void changes.push(change), onSynced: synced.resolve },
  })
  await synced.promise
  const seen = () => changes.map(c => `${c.type} ${c.object.metadata.name}`)
  const close = async () => {
    stop.abort()
    await over
    await client.close()
  }
  return { line, seen, debug, close }
}

test('a watch goes on where its connection was cut: every change arrives once, none is missed', async () => {
  const namespace = await freshNamespace(api)
  await apply(api, config(namespace, 'a'))
  const { line, seen, close } = await followed('ConfigMap', namespace)
  await apply(api, config(namespace, 'b'))
  await until(seen, 'ADDED b')
  line.cut()
  const a = await mergePatch(api, 'ConfigMap', namespace, 'a', { data: { x: '1' } })
  await remove(api, a)
  await apply(api, config(namespace, 'c'))
  line.mend()
  await until(seen, 'ADDED c')
  expect(seen()).toEqual(['ADDED a', 'ADDED b', 'MODIFIED a', 'DELETED a', 'ADDED c'])
  await close()
})

test('a watch whose place was compacted away lists again, and tells the difference', async () => {
  const namespace = await freshNamespace(api)
  // Events have no watch cache: their watches read etcd, and so meet its compaction.
  await create(api, event(namespace, 'a'))
  await create(api, event(namespace, 'b'))
  const { line, seen, close } = await followed('Event', namespace)
  expect(seen().sort()).toEqual(['ADDED a', 'ADDED b'])
  line.cut()
  await remove(api, (await get(api, 'Event', namespace, 'a'))!)
  const c = await create(api, event(namespace, 'c'))
  const answer = await fetch(`${ring.etcdUrl}/v3/kv/compaction`, {
    method: 'POST',
    body: JSON.stringify({ revision: c.metadata.resourceVersion, physical: true }),
  })
  expect(answer.status).toBe(200)
  line.mend()
  await until(seen, 'ADDED c')
  await create(api, event(namespace, 'd'))
  await until(seen, 'ADDED d')
  // The order of a relist, in which what has vanished comes last.
  expect(seen().slice(2)).toEqual(['ADDED c', 'DELETED a', 'ADDED d'])
  await close()
})
