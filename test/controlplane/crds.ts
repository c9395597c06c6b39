import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parse } from 'yaml'
import { Api, pause } from '../../src/cluster/api.ts'
import { loadKubeconfig } from '../../src/cluster/config.ts'
import { apply, get } from '../../src/cluster/objects.ts'
import { silentLog } from '../../src/log.ts'
import type { KubeObject } from '../../src/stack/kube.ts'
import { kubeconfig } from '../sandbox/api/credentials.ts'

const folder = path.join(import.meta.dirname, 'crds')
const establishedWithinMs = 30_000

/** The custom resources of the platform, in the fields and rules that we rely on. */
export const definitions = (): KubeObject[] =>
  readdirSync(folder)
    .sort()
    .map(file => parse(readFileSync(path.join(folder, file), 'utf8'), { merge: true }) as KubeObject)

/**
 * Applies them all and waits until each is served.
 * @throws Error with the conditions of one that the server does not take
 */
export async function installCrds(plane: { url: string; caPem: string; adminToken: string }): Promise<void> {
  const yaml = kubeconfig({ url: plane.url, caPem: plane.caPem, token: plane.adminToken })
  const api = new Api(loadKubeconfig({ kind: 'content', yaml }, undefined, {}), silentLog)
  try {
    await Promise.all(definitions().map(definition => install(api, definition)))
  } finally {
    await api.close()
  }
}

async function install(api: Api, definition: KubeObject): Promise<void> {
  await apply(api, definition)
  const deadline = Date.now() + establishedWithinMs
  for (;;) {
    const live = await get(api, 'CustomResourceDefinition', undefined, definition.metadata.name)
    // null at first.
    const { conditions } = (live?.status ?? {}) as { conditions?: { type: string; status: string }[] | null }
    if (conditions?.some(c => c.type === 'Established' && c.status === 'True')) return
    if (Date.now() > deadline)
      throw new Error(`${definition.metadata.name} is not established: ${JSON.stringify(conditions)}`)
    await pause(50)
  }
}
