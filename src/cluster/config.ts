import { createHash } from 'node:crypto'
import { KubeConfig } from '@kubernetes/client-node'
import { UserError } from '../errors.ts'

/** Where the credentials come from: the text of a kubeconfig, or the pod's own service account. */
export type KubeconfigSource = { readonly kind: 'content'; readonly yaml: string } | { readonly kind: 'in-cluster' }

interface Dispatcher {
  close(): Promise<void>
}

/**
 * The stock client opens a new TLS connection for every request (kubernetes-client/javascript#2893). One dispatcher per
 * cluster and identity makes a hundred sequential requests about three times faster. It also honours
 * HTTPS_PROXY / NO_PROXY, which the client ignores; a `proxy-url` in the kubeconfig wins.
 */
export class PooledKubeConfig extends KubeConfig {
  readonly #pool = new Map<string, Dispatcher | undefined>()

  constructor() {
    super()
    // Private in the client's typings, but the one place through which every dispatcher is made.
    const self = this as unknown as {
      createDispatcher(cluster: unknown, options: object): Dispatcher | undefined
      createDispatcherOptions(cluster: unknown, options: object): { connect?: object; requestTls?: object }
    }
    // HTTP/1.1 alone: over HTTP/2 one broken stream takes every request of the connection with it, and closing a client
    // with an aborted watch ends the process with an unhandled error (seen with undici 8.13).
    const options = self.createDispatcherOptions.bind(this)
    self.createDispatcherOptions = (cluster, agentOptions) => {
      const made = options(cluster, agentOptions)
      if (made.connect !== undefined) made.connect = { ...made.connect, allowH2: false }
      if (made.requestTls !== undefined) made.requestTls = { ...made.requestTls, allowH2: false }
      return made
    }
    const create = self.createDispatcher.bind(this)
    self.createDispatcher = (cluster, agentOptions) => {
      const key = createHash('sha256')
        .update(JSON.stringify([cluster, agentOptions]))
        .digest('hex')
      if (!this.#pool.has(key)) this.#pool.set(key, create(cluster, agentOptions))
      return this.#pool.get(key)
    }
  }

  async close(): Promise<void> {
    const open = [...this.#pool.values()]
    this.#pool.clear()
    await Promise.allSettled(open.map(d => d?.close()))
  }
}

/**
 * Loads a kubeconfig and picks one context. Never logs it.
 * @throws UserError INPUT when the text is no kubeconfig, PREFLIGHT when `in-cluster` is not inside a pod.
 */
export function loadKubeconfig(
  source: KubeconfigSource,
  context: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): PooledKubeConfig {
  const config = new PooledKubeConfig()
  if (source.kind === 'in-cluster') {
    try {
      config.loadFromCluster()
    } catch (cause) {
      throw new UserError('PREFLIGHT', 'kubeconfig is "in-cluster", but this process does not run in a pod.', {
        why: 'The service account files of a pod are not mounted here.',
        next: 'Run on a self-hosted runner inside the cluster, or give the content of a kubeconfig.',
        cause,
      })
    }
  } else config.loadFromString(source.yaml)
  if (context !== undefined) config.setCurrentContext(context)
  const cluster = config.getCurrentCluster()
  if (!cluster) {
    throw new UserError('INPUT', 'The kubeconfig has no cluster for the chosen context.', {
      why: `Context "${config.getCurrentContext()}" is missing or names a cluster that is not in the file.`,
      next: 'Set the input `context` to one of the contexts in the file, or set current-context in it.',
    })
  }
  const proxy = cluster.proxyUrl ?? proxyFor(cluster.server, env)
  if (proxy !== undefined && proxy !== cluster.proxyUrl) {
    config.clusters = config.clusters.map(c => (c.name === cluster.name ? { ...c, proxyUrl: proxy } : c))
  }
  return config
}

/** The proxy that HTTPS_PROXY / HTTP_PROXY / NO_PROXY (either case) ask for, as curl reads them; undefined for none. */
export function proxyFor(server: string, env: Readonly<Record<string, string | undefined>>): string | undefined {
  const url = new URL(server)
  const read = (name: string) => env[name.toLowerCase()] || env[name] || undefined
  const proxy = url.protocol === 'https:' ? read('HTTPS_PROXY') : env.http_proxy || undefined
  if (proxy === undefined) return undefined
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase()
  const exempt = (read('NO_PROXY') ?? '')
    .split(/[\s,]+/)
    .filter(Boolean)
    .some(entry => {
      const [name = '', port] = entry.toLowerCase().split(':')
      if (name === '*') return true
      if (port !== undefined && port !== '' && port !== (url.port || '443')) return false
      const bare = name.replace(/^\*?\./, '')
      return host === bare || host.endsWith(`.${bare}`)
    })
  if (exempt) return undefined
  return /^[a-z0-9]+:\/\//i.test(proxy) ? proxy : `http://${proxy}`
}
