import type { Api } from '../cluster/api.ts'
import { Observer } from '../cluster/observer.ts'
import { waitReady } from '../cluster/wait.ts'
import { UserError } from '../errors.ts'
import type { StandupInputs } from '../inputs.ts'
import { type KubeObject, stackLabel } from '../stack/kube.ts'
import { names } from '../stack/names.ts'
import type { StackSpec } from '../stack/spec.ts'
import type { Session } from './session.ts'

/** All readiness waits at once; the first failure ends the others. */
export async function waitForStack(api: Api, spec: StackSpec, session: Session<StandupInputs>): Promise<string> {
  const { inputs, log } = session
  const stop = new AbortController()
  const signal = AbortSignal.any([session.signal, stop.signal])
  const observer = new Observer(api, spec.namespace, log, signal)
  const labelSelector = `${stackLabel}=${spec.stack}`
  const n = names(spec)
  const wait = (
    kind: Parameters<typeof waitReady>[2]['kind'],
    name: string,
    timeoutMs: number,
    code: 'GATEWAY' | 'MODEL_LOAD' | 'MODEL_DOWNLOAD',
    next: string,
  ) =>
    waitReady(
      api,
      observer,
      { kind, name, timeoutMs, code, next },
      { patience: { scheduleMs: inputs.timeouts.scheduleMs }, signal, log },
    )
  const { downloadMs, readyMs, gatesMs } = inputs.timeouts
  const gateway = 'Look at the conditions of the Gateway and the HTTPRoute, and at the log of istiod.'
  try {
    await Promise.all([
      ...(['Pod', 'Deployment', 'Job', 'Gateway', 'HTTPRoute', 'InferencePool', 'PersistentVolumeClaim'] as const).map(
        kind => observer.watch(kind, { labelSelector }),
      ),
      observer.watch('ReplicaSet', { labelSelector }),
      observer.watch('Event'),
    ])
    const download =
      spec.source.kind === 'pvc'
        ? wait(
            'Job',
            n.downloadJob,
            downloadMs,
            'MODEL_DOWNLOAD',
            'Raise `timeouts.download`, or look at the log of the download pod.',
          )
        : undefined
    const waits = [
      spec.source.kind === 'pvc'
        ? wait('PersistentVolumeClaim', n.modelClaim, downloadMs, 'MODEL_DOWNLOAD', 'Look at the events of the claim.')
        : undefined,
      download,
      wait('Gateway', n.gateway, gatesMs, 'GATEWAY', gateway),
      wait('HTTPRoute', n.route, gatesMs, 'GATEWAY', gateway),
      wait('InferencePool', n.pool, gatesMs, 'GATEWAY', gateway),
      wait('Deployment', n.scheduler, gatesMs, 'GATEWAY', 'Look at the log of the endpoint picker.'),
      // The server's own time starts when its weights are there.
      wait(
        'Deployment',
        n.decode,
        readyMs + (download === undefined ? 0 : downloadMs),
        'MODEL_LOAD',
        'Raise `timeouts.ready`, or look at the log of the vllm container.',
      ),
    ].filter(w => w !== undefined)
    await Promise.all(waits)
    const live = observer.view.get('Gateway', n.gateway)
    return gatewayEndpoint(live, spec)
  } finally {
    stop.abort()
    await observer.close()
  }
}

/** `http://host` with the port of the listener, from the Gateway's own status. */
export function gatewayEndpoint(gateway: KubeObject | undefined, spec: { namespace: string }): string {
  const addresses =
    (gateway?.status as { addresses?: { type?: string; value?: string }[] } | undefined)?.addresses ?? []
  const value = addresses.find(a => a.type === 'Hostname')?.value ?? addresses[0]?.value
  if (gateway === undefined || value === undefined || value === '') {
    throw new UserError('GATEWAY', `The Gateway in namespace ${spec.namespace} has no address.`, {
      why: 'Its controller has not published one in status.addresses.',
      next: 'Look at the conditions of the Gateway; check that istiod runs.',
    })
  }
  const host = value.includes(':') ? `[${value}]` : value
  return `http://${host}:80`
}
