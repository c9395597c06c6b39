import type { IncomingMessage, ServerResponse } from 'node:http'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { type Attributes, authorize, type User } from './access.ts'
import { relay, type Upstream } from './relay.ts'
import { verbOf } from './routes.ts'
import type { Store } from './store.ts'

export type ApiService = KubeObject & {
  spec: {
    group: string
    version: string
    groupPriorityMinimum?: number
    versionPriority?: number
    /** Absent for what the API server serves itself. */
    service?: { namespace: string; name: string; port?: number }
    insecureSkipTLSVerify?: boolean
    /** Base64 of PEM. */
    caBundle?: string
  }
  status?: { conditions?: { type: string; status: string }[] }
}
/** Why a Service leads nowhere, as the condition `Available` says it. */
export interface Unavailable {
  reason: string
  message: string
}
interface Slice extends KubeObject {
  endpoints?: { addresses: string[]; conditions?: { ready?: boolean } }[]
  ports?: { name?: string; port: number }[]
}

const services = (store: Store): ApiService[] =>
  (store.peekAll('apiservices.apiregistration.k8s.io') as ApiService[]).filter(a => a.spec.service !== undefined)

/** The group versions that other servers serve, those of the highest priority first. */
export function aggregatedVersions(store: Store): { group: string; version: string }[] {
  const rank = ({ spec }: ApiService) => [spec.groupPriorityMinimum ?? 0, spec.versionPriority ?? 0] as const
  return services(store)
    .sort((a, b) => rank(b)[0] - rank(a)[0] || rank(b)[1] - rank(a)[1])
    .map(({ spec: { group, version } }) => ({ group, version }))
}

/** The APIService that a path belongs to, unless the API server serves that group version itself. */
export function apiServiceOf(store: Store, path: string): ApiService | undefined {
  const [, group = '', version = ''] = /^\/apis\/([^/]+)\/([^/]+)(?:\/|$)/.exec(path) ?? []
  const local = store.registry.all().some(k => k.group === group && k.versions.includes(version))
  return local ? undefined : services(store).find(a => a.spec.group === group && a.spec.version === version)
}

let turn = 0

/** A ready endpoint of the APIService's Service, each in turn; or why there is none. */
export function upstreamOf(store: Store, { spec }: ApiService): Upstream | Unavailable {
  const { namespace = '', name = '', port = 443 } = spec.service ?? {}
  const title = `service/${name} in "${namespace}"`
  const service = store.peek('services', namespace, name)
  if (!service) return { reason: 'ServiceNotFound', message: `${title} is not present` }
  const { ports = [] } = service.spec as { ports?: { name?: string; port: number }[] }
  const wanted = ports.find(p => p.port === port)
  if (!wanted) return { reason: 'ServicePortError', message: `${title} is not listening on port ${port}` }
  const slices = store.peekAll('endpointslices.discovery.k8s.io', namespace) as Slice[]
  const own = slices.filter(s => s.metadata.labels?.['kubernetes.io/service-name'] === name)
  if (own.length === 0)
    return {
      reason: 'EndpointsNotFound',
      message: `cannot find endpointslices for service/${name} in "${namespace}"`,
    }
  const ready = own.flatMap(slice => {
    const target = slice.ports?.find(p => (p.name ?? '') === (wanted.name ?? ''))?.port
    const addresses = (slice.endpoints ?? []).filter(e => e.conditions?.ready !== false).flatMap(e => e.addresses)
    return target === undefined ? [] : addresses.map(host => ({ host, port: target }))
  })
  const one = ready[turn++ % Math.max(1, ready.length)]
  if (!one) {
    const text = `endpointslices for service/${name} in "${namespace}" have no addresses with port name "${wanted.name ?? ''}"`
    return { reason: 'MissingEndpoints', message: text }
  }
  const ca = spec.caBundle ? { ca: Buffer.from(spec.caBundle, 'base64').toString('utf8') } : {}
  return {
    ...one,
    tls: { servername: `${name}.${namespace}.svc`, insecure: spec.insecureSkipTLSVerify === true, ...ca },
  }
}

/** What an authorizer is asked; undefined for the discovery document, which everybody with a token may read. */
function attributesOf(path: string, method: string, query: URLSearchParams): Attributes | undefined {
  const [group = '', , ...rest] = path.slice('/apis/'.length).split('/').map(decodeURIComponent)
  const inside = rest[0] === 'namespaces' && rest.length > 2
  const [resource = '', name = '', subresource = ''] = inside ? rest.slice(2) : rest
  if (resource === '') return undefined
  return { verb: verbOf(method, name, query), group, resource, subresource, namespace: inside ? rest[1]! : '', name }
}

/**
 * Passes a request on to the server behind an APIService, for the user that was authenticated here. Its own refusals
 * are plain text with 503, not a Status: a real aggregator has nothing better either.
 * @throws ApiStatusError 403
 */
export async function serveAggregated(
  store: Store,
  apiService: ApiService,
  from: { request: IncomingMessage; url: URL; body: string; user: User },
  response: ServerResponse,
): Promise<void> {
  const { request, url, body, user } = from
  const attributes = attributesOf(url.pathname, request.method ?? 'GET', url.searchParams)
  if (attributes) {
    const { group, resource } = attributes
    authorize(user, { id: `${resource}.${group}`, group, plural: resource }, attributes)
  }
  const refuse = (text: string) => {
    const headers = { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' }
    response.writeHead(503, headers).end(`${text}\n`)
  }
  const available = apiService.status?.conditions?.some(c => c.type === 'Available' && c.status === 'True')
  const upstream = available ? upstreamOf(store, apiService) : undefined
  if (upstream === undefined || 'reason' in upstream) return refuse('service unavailable')
  const headers = { 'x-remote-user': user.name, 'x-remote-group': [...user.groups] }
  try {
    await relay(request, body, upstream, url.pathname + url.search, headers, response)
  } catch (error) {
    refuse((error as Error).message)
  }
}
