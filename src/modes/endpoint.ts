import type { Api } from '../cluster/api.ts'
import { get, list } from '../cluster/objects.ts'
import { UserError } from '../errors.ts'
import type { EndpointInput } from '../inputs.ts'
import { gatewayEndpoint } from './stack-ready.ts'

/**
 * The URL that guidellm is pointed at. `auto`: the stack's own Gateway, as the inventory names it; a Gateway with a
 * host name gives that name, one with an IP address that address. A Service is addressed by its cluster name and its
 * port named `default`, else `http`, else its only port.
 */
export async function endpointOf(
  api: Api,
  endpoint: EndpointInput,
  where: { namespace: string; gateway?: string; signal: AbortSignal },
): Promise<string> {
  if (endpoint.kind === 'url') return endpoint.url.replace(/\/+$/, '')
  if (endpoint.kind === 'service') return serviceEndpoint(api, endpoint, where)
  const gateways = await list(api, 'Gateway', where.namespace, {
    labelSelector: 'stood-up-via=modelservice',
    signal: where.signal,
  })
  const gateway = gateways.items.find(g => g.metadata.name === where.gateway)
  if (gateway === undefined) {
    throw new UserError(
      'GATEWAY',
      `The Gateway ${where.gateway} with the label stood-up-via=modelservice is not in namespace ${where.namespace}.`,
      {
        why:
          gateways.items.length === 0
            ? 'No Gateway there carries the label.'
            : `Others do: ${gateways.items.map(g => g.metadata.name).join(', ')}.`,
        next: 'Run mode: standup again, or name the endpoint with the input `endpoint` (a URL or service/NAME).',
      },
    )
  }
  return gatewayEndpoint(gateway, { namespace: where.namespace })
}

async function serviceEndpoint(
  api: Api,
  endpoint: { name: string; port?: number },
  where: { namespace: string; signal: AbortSignal },
): Promise<string> {
  const service = await get(api, 'Service', where.namespace, endpoint.name, where.signal)
  if (service === undefined) {
    throw new UserError('GATEWAY', `There is no Service ${endpoint.name} in namespace ${where.namespace}.`, {
      why: 'The input `endpoint` names it.',
      next: `List them with \`kubectl get services -n ${where.namespace}\`.`,
    })
  }
  const ports = (service.spec as { ports?: { name?: string; port: number }[] } | undefined)?.ports ?? []
  const chosen =
    endpoint.port ??
    ports.find(p => p.name === 'default')?.port ??
    ports.find(p => p.name === 'http')?.port ??
    (ports.length === 1 ? ports[0]?.port : undefined)
  if (chosen === undefined) {
    throw new UserError('INPUT', `Service ${endpoint.name} has no port named default or http.`, {
      why: `Its ports: ${ports.map(p => `${p.name ?? '(unnamed)'} ${p.port}`).join(', ') || 'none'}.`,
      next: `Write endpoint: service/${endpoint.name}:PORT.`,
    })
  }
  return `http://${endpoint.name}.${where.namespace}.svc.cluster.local:${chosen}`
}
