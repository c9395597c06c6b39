import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { Api } from '../../../src/cluster/api.ts'
import { loadKubeconfig } from '../../../src/cluster/config.ts'
import { waitUntilGone } from '../../../src/cluster/gone.ts'
import { asFailure } from '../../../src/errors.ts'
import { silentLog } from '../../../src/log.ts'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { type ApiServer, startApiServer } from '../../sandbox/api/server.ts'

let server: ApiServer
let api: Api
const never = new AbortController().signal
beforeAll(async () => {
  server = await startApiServer()
  api = new Api(loadKubeconfig({ kind: 'content', yaml: server.kubeconfig() }, undefined, {}), silentLog)
})
afterAll(async () => {
  await api.close()
  await server.close()
})

const make = (name: string, finalizers: string[] = []): KubeObject =>
  server.store.create({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default', finalizers } })

test('an object that is gone, or that another of its name has replaced, is gone', async () => {
  const object = make('a')
  server.store.delete('configmaps', 'default', 'a')
  await waitUntilGone(api, object, never, silentLog, 5000)
  make('a')
  await waitUntilGone(api, object, never, silentLog, 5000)
})

test('one that a finalizer holds is no bug of ours: the finalizer is named', async () => {
  const object = make('b', ['example.com/hold'])
  server.store.delete('configmaps', 'default', 'b')
  expect(await waitUntilGone(api, object, never, silentLog, 200).catch(asFailure)).toMatchObject({
    ...{ code: 'LEFTOVERS', what: 'ConfigMap b was deleted and is still there.' },
    why: 'It is held by finalizers: example.com/hold.',
  })
})
