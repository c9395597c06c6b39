import type { IncomingMessage, ServerResponse } from 'node:http'
import { ApiStatusError } from '../runtime.ts'
import type { Target } from './decode.ts'
import { dict } from './dict.ts'
import { notFound } from './kinds.ts'
import { relay, type Upstream } from './relay.ts'
import type { Store } from './store.ts'

/** The path behind `.../pods/NAME/proxy` as it was written, undefined when that is not what is asked for. */
export function proxiedPath({ kind, subresource }: Target, path: string): string | undefined {
  if (kind.id !== 'pods' || !/^proxy(\/|$)/.test(subresource)) return undefined
  return path.split('/').slice(8).join('/')
}

interface Container {
  ports?: { containerPort: number }[]
}

/** Takes `NAME`, `NAME:PORT` and `SCHEME:NAME:PORT` apart; without a port the pod's first container port is meant, else 80. */
function upstreamOf(store: Store, { kind, namespace, name }: Target): Upstream {
  const parts = name.split(':')
  const [scheme = '', pod = '', asked = ''] = parts.length === 3 ? parts : ['', ...parts]
  if (parts.length > 3 || pod === '' || !['', 'http', 'https'].includes(scheme))
    throw new ApiStatusError(400, `invalid pod request "${name}"`)
  const found = store.peek('pods', namespace, pod)
  if (!found) throw notFound(kind, pod)
  const host = dict(found.status).podIP
  // What a real server says of a pod without an address, too.
  if (typeof host !== 'string') throw new ApiStatusError(400, 'address not allowed')
  const containers = (dict(found.spec).containers ?? []) as Container[]
  const first = containers.find(c => c.ports?.length)?.ports?.[0]?.containerPort
  const port = asked === '' ? (first ?? 80) : Number(asked)
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new ApiStatusError(400, `invalid pod request "${name}"`)
  return { host, port, ...(scheme === 'https' ? { tls: { servername: '', insecure: true } } : {}) }
}

/** Answers `.../pods/NAME/proxy/PATH` from the pod. @throws ApiStatusError 400, 404, and 503 when it cannot be reached */
export async function servePodProxy(
  store: Store,
  target: Target,
  from: { request: IncomingMessage; url: URL; body: string; path: string },
  response: ServerResponse,
): Promise<void> {
  const upstream = upstreamOf(store, target)
  const { request, url, body, path } = from
  if (/\/proxy$/.test(url.pathname)) return void response.writeHead(301, { location: `${url.pathname}/` }).end()
  try {
    await relay(request, body, upstream, `/${path}${url.search}`, {}, response)
  } catch (error) {
    throw new ApiStatusError(503, (error as Error).message)
  }
}
