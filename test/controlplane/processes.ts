import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Api } from '../../src/cluster/api.ts'
import { loadKubeconfig } from '../../src/cluster/config.ts'
import { silentLog } from '../../src/log.ts'
import { Processes, type Running } from '../sandbox/agent/process.ts'
import { certificates, kubeconfig } from '../sandbox/api/credentials.ts'

/** A real etcd and a real API server, and nothing else: no controller changes what a test has written. */
export interface ControlPlane {
  readonly url: string
  readonly caPem: string
  /** Of the group system:masters. */
  readonly adminToken: string
  readonly etcdUrl: string
  /** `v1.35.4` */
  readonly version: string
  /** Everything that it writes; removed by `close`. */
  readonly folder: string
  close(): Promise<void>
}

const readyWithinMs = 90_000

/**
 * Starts both on free loopback ports with a fresh data folder. A watchdog ends them should this process die.
 * @param binaries the folder with `etcd` and `kube-apiserver`
 * @throws Error with the last lines of the log of the one that ended, or was not ready in 90 s
 */
export async function startControlPlane(binaries: string): Promise<ControlPlane> {
  const folder = mkdtempSync(path.join(tmpdir(), 'bench-controlplane-'))
  const processes = new Processes(folder)
  try {
    const [client, peer, secure] = await freePorts(3)
    const etcdUrl = `http://127.0.0.1:${client}`
    const adminToken = randomBytes(24).toString('hex')
    const pems = await certificates('127.0.0.1')
    const url = `https://127.0.0.1:${secure}`
    const start = async (name: string, args: string[]) =>
      new Part(
        name,
        await processes.start([path.join(binaries, name), ...args], { cwd: folder, env: {}, stdin: false }),
      )
    const etcd = await start('etcd', etcdFlags(folder, etcdUrl, `http://127.0.0.1:${peer}`))
    const server = await start('kube-apiserver', apiServerFlags(writeFiles(folder, pems, adminToken), etcdUrl, secure!))
    const api = new Api(
      loadKubeconfig({ kind: 'content', yaml: kubeconfig({ url, caPem: pems.ca, token: adminToken }) }, undefined, {}),
      silentLog,
    )
    try {
      const version = await ready(api, [etcd, server])
      return {
        ...{ url, caPem: pems.ca, adminToken, etcdUrl, version, folder },
        close: () => processes.close(),
      }
    } finally {
      await api.close()
    }
  } catch (error) {
    await processes.close()
    throw error
  }
}

/** One process, and the end of what it has written. */
class Part {
  readonly #name: string
  #tail = ''
  ended = false

  constructor(name: string, running: Running) {
    this.#name = name
    for (const stream of [running.stdout, running.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#tail = (this.#tail + text).slice(-4000)
      })
    void running.ended.then(() => {
      this.ended = true
    })
  }
  get story(): string {
    return `${this.#name}${this.ended ? ' has ended' : ''}:\n${this.#tail}`
  }
}

async function ready(api: Api, parts: readonly Part[]): Promise<string> {
  const deadline = Date.now() + readyWithinMs
  for (;;) {
    try {
      for await (const _ of await api.stream('/readyz', { signal: AbortSignal.timeout(5000), accept: '*/*' })) {
        // Only the status counts.
      }
      return (await api.request<{ gitVersion: string }>('GET', '/version', { once: true })).gitVersion
    } catch (cause) {
      if (Date.now() > deadline || parts.some(p => p.ended))
        throw new Error(`the control plane is not ready\n${parts.map(p => p.story).join('\n')}`, { cause })
      await delay(100)
    }
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const ports = await Promise.all(
    servers.map(
      server =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject)
          server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port))
        }),
    ),
  )
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
  return ports
}

type Files = Record<'ca' | 'cert' | 'key' | 'accountKey' | 'accountPublicKey' | 'tokens', string>

function writeFiles(folder: string, pems: { ca: string; cert: string; key: string }, adminToken: string): Files {
  const account = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const content: Files = {
    ...pems,
    accountKey: account.privateKey.export({ type: 'sec1', format: 'pem' }).toString(),
    accountPublicKey: account.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    tokens: `${adminToken},kubernetes-admin,admin,"system:masters"\n`,
  }
  const files = { ...content }
  for (const name of Object.keys(content) as (keyof Files)[]) {
    files[name] = path.join(folder, name)
    writeFileSync(files[name], content[name], { mode: 0o600 })
  }
  return files
}

const etcdFlags = (folder: string, url: string, peerUrl: string): string[] => [
  '--name=ring',
  `--data-dir=${path.join(folder, 'etcd')}`,
  `--listen-client-urls=${url}`,
  `--advertise-client-urls=${url}`,
  `--listen-peer-urls=${peerUrl}`,
  `--initial-advertise-peer-urls=${peerUrl}`,
  `--initial-cluster=ring=${peerUrl}`,
  // Its data is thrown away: nothing is gained by waiting for the disk.
  '--unsafe-no-fsync',
  '--log-level=warn',
]

const apiServerFlags = (files: Files, etcdUrl: string, port: number): string[] => [
  `--etcd-servers=${etcdUrl}`,
  '--bind-address=127.0.0.1',
  '--advertise-address=127.0.0.1',
  `--secure-port=${port}`,
  // No Service of its own is needed, and an EndpointSlice takes no loopback address.
  '--endpoint-reconciler-type=none',
  '--service-cluster-ip-range=10.0.0.0/16',
  '--authorization-mode=RBAC',
  `--token-auth-file=${files.tokens}`,
  `--tls-cert-file=${files.cert}`,
  `--tls-private-key-file=${files.key}`,
  '--service-account-issuer=https://kubernetes.default.svc',
  `--service-account-key-file=${files.accountPublicKey}`,
  `--service-account-signing-key-file=${files.accountKey}`,
  // Without these the server does not aggregate.
  `--proxy-client-cert-file=${files.cert}`,
  `--proxy-client-key-file=${files.key}`,
  `--requestheader-client-ca-file=${files.ca}`,
  '--requestheader-allowed-names=kube-apiserver',
  '--requestheader-username-headers=X-Remote-User',
  '--requestheader-group-headers=X-Remote-Group',
  '--requestheader-extra-headers-prefix=X-Remote-Extra-',
]
