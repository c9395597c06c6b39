import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { Cluster } from './controllers/cluster.ts'
import { type Service, sliceOf } from './controllers/endpoints.ts'
import { forward } from './doubles/wire.ts'

/** Where a pod's proxy listens, on the pod's own address. */
export const proxyPort = 3128

interface Target {
  host: string
  port: number
}

/**
 * The network of the sandbox, as an HTTP forward proxy for each pod: it resolves Service names and cluster IPs to ready
 * endpoints, lets pod addresses through, and refuses everything else, so that nothing leaves the machine.
 */
export class Network {
  readonly #cluster: Cluster
  /** `host:port` of servers on this machine that pods may reach. */
  readonly #hosts: Set<string>
  readonly #servers = new Map<string, Server>()
  readonly #sockets = new Set<Socket>()
  #turn = 0

  /** @param hosts their base URLs */
  constructor(cluster: Cluster, hosts: readonly string[]) {
    this.#cluster = cluster
    this.#hosts = new Set(hosts.map(url => new URL(url).host))
  }

  /** The pods cannot reach that `host:port` any more. */
  block(host: string): void {
    this.#hosts.delete(host)
  }

  /** Opens the proxy of the pod with that address and namespace; returns its URL. */
  open(address: string, namespace: string): string {
    const server = createServer(
      { requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 600_000 },
      (request, response) => this.#forward(request, response, namespace, address),
    )
    server.on('connect', (request: IncomingMessage, socket: Socket, head: Buffer) =>
      this.#tunnel(request, socket, head, namespace, address),
    )
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.setNoDelay(true).on('close', () => this.#sockets.delete(socket))
    })
    server.listen(proxyPort, address)
    this.#servers.set(address, server)
    return `http://${address}:${proxyPort}`
  }

  close(address: string): void {
    const server = this.#servers.get(address)
    this.#servers.delete(address)
    server?.close()
    server?.closeAllConnections()
  }

  async closeAll(): Promise<void> {
    for (const address of [...this.#servers.keys()]) this.close(address)
    for (const socket of this.#sockets) socket.destroy()
  }

  /** @returns a text that says why not, when the name leads nowhere */
  resolve(host: string, port: number, namespace: string, self: string): Target | string {
    if (this.#hosts.has(`${host}:${port}`)) return { host, port }
    // A pod has a loopback of its own.
    if (host === 'localhost' || host === '127.0.0.1') return { host: self, port }
    if (host.startsWith('127.')) return { host, port }
    const service = this.#service(host, namespace)
    if (service === undefined) return `${host}: no such name, and nothing outside the sandbox can be reached`
    if (typeof service === 'string') return service
    const name = `service ${service.metadata.namespace}/${service.metadata.name}`
    const wanted = service.spec.ports?.find(p => p.port === port)
    const slice = sliceOf(this.#cluster, service)
    // A headless Service has only addresses: any port of its pods can be reached.
    const headless = service.spec.clusterIP === 'None'
    if (wanted === undefined && !headless) return `${name} has no port ${port}`
    const target = headless ? port : slice?.ports.find(p => p.name === (wanted?.name ?? ''))?.port
    const ready = slice?.endpoints.filter(e => e.conditions.ready).flatMap(e => e.addresses) ?? []
    const address = ready[this.#turn++ % Math.max(1, ready.length)]
    if (address === undefined || target === undefined) return `${name} has no ready endpoint`
    return { host: address, port: target }
  }

  #service(host: string, namespace: string): (Service & { spec: { clusterIP?: string } }) | string | undefined {
    const all = this.#cluster.list<Service & { spec: { clusterIP?: string } }>('services')
    if (/^[\d.]+$/.test(host)) return all.find(s => s.spec.clusterIP === host)
    const [name = '', space = namespace, ...rest] = host.replace(/\.$/, '').split('.')
    if (rest.length > 0 && !['svc', 'svc.cluster.local'].includes(rest.join('.'))) return undefined
    const found = all.find(s => s.metadata.name === name && s.metadata.namespace === space)
    return found ?? `${host}: no Service ${space}/${name}, and nothing outside the sandbox can be reached`
  }

  #forward(request: IncomingMessage, response: ServerResponse, namespace: string, self: string): void {
    const refuse = (text: string) =>
      void response.writeHead(502, { 'content-type': 'text/plain' }).end(`sandbox proxy: ${text}\n`)
    const url = URL.canParse(request.url ?? '') ? new URL(request.url!) : undefined
    if (url?.protocol !== 'http:') return void refuse(`only http:// URLs are forwarded, not ${request.url}`)
    const target = this.resolve(url.hostname, Number(url.port || 80), namespace, self)
    if (typeof target === 'string') return void refuse(target)
    const { host, port } = target
    forward(request, response, { host, port, path: url.pathname + url.search }, e =>
      refuse(`${url.host} (${host}:${port}): ${e.message}`),
    )
  }

  #tunnel(request: IncomingMessage, socket: Socket, head: Buffer, namespace: string, self: string): void {
    const [host = '', port = '443'] = (request.url ?? '').split(':')
    const target = this.resolve(host, Number(port), namespace, self)
    const refuse = (text: string) => void socket.end(`HTTP/1.1 502 Bad Gateway\r\n\r\nsandbox proxy: ${text}\n`)
    socket.on('error', () => undefined)
    if (typeof target === 'string') return void refuse(target)
    const up = connect(target)
    const failed = (error: Error) => refuse(`${request.url}: ${error.message}`)
    up.once('error', failed)
    up.once('connect', () => {
      up.off('error', failed).on('error', () => socket.destroy())
      socket.on('close', () => up.destroy())
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      up.write(head)
      up.pipe(socket).pipe(up)
    })
  }
}

/** Addresses 127.x.y.2 to 127.x.y.254 for the pods of one sandbox. The lock is a listener on the first address of the range. */
export class Addresses {
  readonly #prefix: string
  readonly #lock: Server
  readonly #free: string[]

  private constructor(prefix: string, lock: Server) {
    this.#prefix = prefix
    this.#lock = lock
    this.#free = Array.from({ length: 253 }, (_, i) => `${this.#prefix}.${i + 2}`)
  }

  /** Claims a range that no other sandbox of this machine uses. */
  static async claim(): Promise<Addresses> {
    for (;;) {
      const prefix = `127.${16 + Math.floor(Math.random() * 200)}.${Math.floor(Math.random() * 256)}`
      const lock = createServer((_request, response) => response.writeHead(404).end())
      const mine = await new Promise<boolean>(resolve => {
        lock.once('error', () => resolve(false))
        lock.listen(proxyPort, `${prefix}.1`, () => resolve(true))
      })
      if (mine) return new Addresses(prefix, lock.unref())
    }
  }
  /** The one that has been free for longest, so that a late packet for a dead pod does not reach a new one. */
  take(): string {
    const address = this.#free.shift()
    if (address === undefined) throw new Error('more than 253 pods at once')
    return address
  }
  give(address: string): void {
    this.#free.push(address)
  }
  close(): void {
    this.#lock.close()
  }
}
