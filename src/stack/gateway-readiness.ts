import { conditionOf, conditionSentence, conditionsOf, isCurrent, records } from './foreign.ts'
import type { KubeObject } from './kube.ts'
import type { Readiness } from './spec.ts'

const ready: Readiness = { state: 'ready' }
const waiting = (why: string): Readiness => ({ state: 'waiting', why })

/**
 * Reasons with which a Gateway stays refused. InvalidParameters is not one of them: the ConfigMap it speaks of may have
 * been applied a moment later.
 */
const refusals = ['Invalid', 'UnsupportedAddress', 'ListenersNotValid']

/** Accepted and Programmed at the current generation, with an address. */
export function gatewayReadiness(live: KubeObject): Readiness {
  for (const type of ['Accepted', 'Programmed']) {
    const c = conditionOf(live, type)
    if (!isCurrent(c, live)) return waiting(`not yet ${type.toLowerCase()} by its controller`)
    if (c.status === 'True') continue
    const why = conditionSentence(c)
    if (c.status !== 'False' || !refusals.includes(c.reason ?? '')) return waiting(why)
    return {
      state: 'failed',
      code: 'GATEWAY',
      why,
      next: 'Compare the istio version with the one that docs/platform.md names, and look at the log of istiod.',
      evidence: c.message === undefined ? [] : [c.message],
    }
  }
  const addresses = records((live.status as { addresses?: unknown } | undefined | null)?.addresses)
  return addresses.length > 0 ? ready : waiting('no address yet')
}

interface ParentStatus {
  readonly controllerName?: string
  readonly parentRef?: { readonly kind?: string; readonly name?: string }
  readonly conditions?: unknown
}
const parentsOf = (live: KubeObject): ParentStatus[] =>
  records<ParentStatus>((live.status as { parents?: unknown } | undefined | null)?.parents)

const istioController = 'istio.io/gateway-controller'

function parentReadiness(live: KubeObject, parent: ParentStatus): Readiness {
  for (const type of ['Accepted', 'ResolvedRefs']) {
    const c = conditionsOf(parent).find(x => x.type === type)
    if (!isCurrent(c, live)) return waiting(`${type} is not known yet`)
    if (c.status === 'True') continue
    const why = conditionSentence(c)
    // An unknown backend is a matter of time, a kind that the controller does not do is not.
    const disabled = type === 'ResolvedRefs' && (c.reason === 'InvalidKind' || /not enabled/i.test(c.message ?? ''))
    if (c.status !== 'False' || !disabled) return waiting(why)
    return {
      state: 'failed',
      code: 'PLATFORM',
      why,
      next: 'Let istiod run with ENABLE_GATEWAY_API_INFERENCE_EXTENSION=true (docs/platform.md has the command).',
      evidence: c.message === undefined ? [] : [c.message],
    }
  }
  return ready
}

/** Accepted, with resolved references, by istio's controller, or by whichever controller has answered. */
export function routeReadiness(live: KubeObject): Readiness {
  const parents = parentsOf(live)
  const parent = parents.find(p => p.controllerName === istioController) ?? parents[0]
  return parent === undefined ? waiting('no controller has answered for it') : parentReadiness(live, parent)
}

/** A pool has parents only once a route refers to it; the placeholder that the definition fills in is none. */
export function poolReadiness(live: KubeObject): Readiness {
  const parents = parentsOf(live).filter(p => p.parentRef?.kind !== 'Status')
  if (parents.length === 0) return waiting('no gateway has taken it up yet')
  return parents.map(p => parentReadiness(live, p)).find(r => r.state !== 'ready') ?? ready
}
