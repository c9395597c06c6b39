import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { text } from 'node:stream/consumers'
import { Api } from '../../src/cluster/api.ts'
import { loadKubeconfig } from '../../src/cluster/config.ts'
import { apply } from '../../src/cluster/objects.ts'
import { type Log, silentLog } from '../../src/log.ts'
import { kubeconfig } from '../sandbox/api/credentials.ts'

/** Where the real API server is; scripts/controlplane-ring.mjs starts it. */
export interface Ring {
  readonly url: string
  readonly caPem: string
  readonly adminToken: string
  readonly etcdUrl: string
  /** Folder of the servers' programs. */
  readonly binaries: string
}
export const ring = JSON.parse(readFileSync(process.env.BENCH_CONTROLPLANE!, 'utf8')) as Ring

/** A client of the product's own, for the administrator unless a token is given. */
export const open = (options: { token?: string; server?: string; log?: Log; clock?: () => number } = {}): Api => {
  const { token = ring.adminToken, server = ring.url, log = silentLog, ...rest } = options
  const yaml = kubeconfig({ url: server, caPem: ring.caPem, token })
  return new Api(loadKubeconfig({ kind: 'content', yaml }, undefined, {}), log, { firstDelayMs: 20, ...rest })
}

/** A namespace that no other test of the run has. */
export async function freshNamespace(api: Api): Promise<string> {
  const name = `t-${randomBytes(4).toString('hex')}`
  await apply(api, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
  return name
}

/** A token of a ServiceAccount, which is made first. */
export async function accountToken(api: Api, namespace: string, name: string): Promise<string> {
  await apply(api, { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } })
  const answer = await api.request<{ status: { token: string } }>(
    'POST',
    `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`,
    { body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 3600 } } },
  )
  return answer.status.token
}

export interface Answer {
  readonly status: number
  readonly type: string
  readonly text: string
}

/** One request and its answer as they are on the wire. */
export async function raw(
  server: { url: string; caPem: string; adminToken: string },
  method: string,
  path: string,
  options: { body?: unknown; type?: string; token?: string } = {},
): Promise<Answer> {
  const { body, type = 'application/json', token = server.adminToken } = options
  const sending = body === undefined ? '' : JSON.stringify(body)
  const headers = {
    authorization: `Bearer ${token}`,
    accept: 'application/json',
    'content-length': Buffer.byteLength(sending),
    ...(body === undefined ? {} : { 'content-type': type }),
  }
  const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    const sent = request(server.url + path, { method, headers, ca: server.caPem }, resolve)
    sent.on('error', reject)
    sent.end(sending)
  })
  return {
    status: response.statusCode ?? 0,
    type: String(response.headers['content-type'] ?? '').split(';')[0] ?? '',
    text: await text(response),
  }
}
