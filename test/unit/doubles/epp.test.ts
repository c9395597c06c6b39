import { writeFile } from 'node:fs/promises'
import http from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { type ApiServer, startApiServer } from '../../sandbox/api/server.ts'
import { Programs } from './programs.ts'

const namespace = 'ns'
let programs: Programs
let api: ApiServer
/** `/metrics` of the replicas, by their address. */
const waiting = new Map<string, number>()
let replicas: http.Server[] = []

/** A replica that tells how many requests wait for it; both listen on one port, as pods do. */
async function replica(address: string, port: number): Promise<number> {
  const server = http.createServer((_request, response) =>
    response.end(`vllm:num_requests_waiting{engine="0",model_name="m"} ${waiting.get(address) ?? 0}\n`),
  )
  replicas.push(server)
  await new Promise<void>(resolve => server.listen(port, address, resolve))
  return (server.address() as AddressInfo).port
}

const pod = (name: string, podIP: string, ready: boolean): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace, labels: { model: 'm' } },
  spec: { containers: [{ name: 'c', image: 'i' }] },
  status: { podIP, phase: 'Running', conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
})
const pool = (port: number): KubeObject => ({
  apiVersion: 'inference.networking.k8s.io/v1',
  kind: 'InferencePool',
  metadata: { name: 'pool', namespace },
  spec: {
    targetPorts: [{ number: port }],
    selector: { matchLabels: { model: 'm' } },
    endpointPickerRef: { name: 'epp', port: { number: 9002 } },
  },
})

/** Creates a pod where there is none, and gives it its status, which a create does not. */
function run(wanted: KubeObject): void {
  if (api.store.peek('pods', namespace, wanted.metadata.name) === undefined) api.store.create(wanted)
  const change = (draft: KubeObject) => {
    draft.status = wanted.status
  }
  api.store.modify('pods', namespace, wanted.metadata.name, change, { subresource: 'status' })
}

async function eventually(check: () => Promise<void>): Promise<void> {
  for (const end = Date.now() + 8_000; ; await new Promise(resolve => setTimeout(resolve, 30))) {
    try {
      return await check()
    } catch (error) {
      if (Date.now() > end) throw error
    }
  }
}
const listens = (address: string, port: number): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect(port, address, () => resolve(true))
    socket.on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })

beforeEach(async () => {
  programs = await Programs.create()
  api = await startApiServer()
  api.store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })
  waiting.clear()
})
afterEach(async () => {
  await programs.close()
  await api.close()
  for (const server of replicas) {
    server.closeAllConnections()
    server.close()
  }
  replicas = []
})

/** The picker, on an address of its own, with a token that may read what its Role allows and no more. */
async function start(address: string): Promise<void> {
  const rules = [
    { apiGroups: ['inference.networking.k8s.io'], resources: ['inferencepools'], verbs: ['get', 'watch', 'list'] },
    { apiGroups: [''], resources: ['pods'], verbs: ['get', 'watch', 'list'] },
  ].map(rule => ({ ...rule, namespaces: [namespace] }))
  await writeFile(join(programs.folder, 'token'), api.tokens.add({ name: 'system:serviceaccount:ns:epp', rules }))
  await writeFile(join(programs.folder, 'ca.crt'), api.caPem)
  const { hostname, port } = new URL(api.url)
  const env = {
    SANDBOX_POD_IP: address,
    SANDBOX_TOKEN_FILE: join(programs.folder, 'token'),
    KUBERNETES_SERVICE_HOST: hostname,
    KUBERNETES_SERVICE_PORT: port,
  }
  const args = [
    '--pool-name',
    'pool',
    '--pool-namespace',
    namespace,
    '--pool-group',
    'inference.networking.k8s.io',
    '--v',
    '1',
    '--tracing=false',
  ]
  // Its first word comes when the pool has synced; here the process only has to stay.
  void programs.serve('epp', args, /has synced/, env).catch(() => undefined)
  await eventually(async () => expect(await listens(address, 9002)).toBe(true))
}
const pick = async (address: string) => {
  const response = await fetch(`http://${address}:9002/pick`)
  return { status: response.status, body: await response.text() }
}

describe('the endpoint picker process', () => {
  test('it is healthy when it has seen its pool, whether or not a replica is ready', async () => {
    await start('127.77.1.1')
    expect(await listens('127.77.1.1', 9003)).toBe(false)
    api.store.create(pool(8000))
    await eventually(async () => expect(await listens('127.77.1.1', 9003)).toBe(true))
    expect((await pick('127.77.1.1')).status).toBe(503)
  })

  test('it picks ready replicas alone, the one with the shorter queue first, and follows the pods', async () => {
    const port = await replica('127.77.2.2', 0)
    await replica('127.77.2.3', port)
    api.store.create(pool(port))
    run(pod('a', '127.77.2.2', true))
    run(pod('b', '127.77.2.3', false))
    await start('127.77.2.1')
    await eventually(async () => expect(await pick('127.77.2.1')).toEqual({ status: 200, body: `127.77.2.2:${port}` }))
    expect((await pick('127.77.2.1')).body).toBe(`127.77.2.2:${port}`)

    waiting.set('127.77.2.2', 50)
    run(pod('b', '127.77.2.3', true))
    await eventually(async () => {
      const picked = new Set<string>()
      for (let n = 0; n < 20; n++) picked.add((await pick('127.77.2.1')).body)
      expect([...picked]).toEqual([`127.77.2.3:${port}`])
    })

    api.store.delete('pods', namespace, 'b')
    await eventually(async () => expect((await pick('127.77.2.1')).body).toBe(`127.77.2.2:${port}`))
  })

  test('without a pool name it does not start', async () => {
    const { code, stderr } = await programs.run('epp', [])
    expect(code).toBe(1)
    expect(stderr).toContain('required --pool-name flag not set')
  })
})
