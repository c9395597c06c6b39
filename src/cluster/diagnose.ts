import { asFailure, UserError } from '../errors.ts'
import type { KubeObject } from '../stack/kube.ts'
import type { Api } from './api.ts'
import { tailLog } from './logs.ts'
import { list } from './objects.ts'

interface ContainerStatus {
  name: string
  restartCount?: number
  state?: { waiting?: unknown; running?: unknown; terminated?: unknown }
}
const evidenceLogLines = 20
const evidenceEvents = 8

/** Containers of a pod that have something to say, the failing ones first. */
function containersOf(pod: KubeObject): { name: string; restarted: boolean }[] {
  const status = pod.status as
    | { initContainerStatuses?: ContainerStatus[]; containerStatuses?: ContainerStatus[] }
    | undefined
  const all = [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])]
  return all
    .filter(c => c.state?.running || c.state?.terminated || (c.restartCount ?? 0) > 0)
    .sort((a, b) => (b.restartCount ?? 0) - (a.restartCount ?? 0))
    .map(c => ({ name: c.name, restarted: (c.restartCount ?? 0) > 0 }))
}

/**
 * The last events and log lines of a pod, for a failure's evidence. Never throws: a diagnosis that fails must not hide
 * what it was to explain.
 */
export async function podEvidence(api: Api, pod: KubeObject): Promise<string[]> {
  const namespace = pod.metadata.namespace ?? ''
  const lines: string[] = []
  try {
    const { items } = await list(api, 'Event', namespace, {
      fieldSelector: `involvedObject.name=${pod.metadata.name}`,
      signal: AbortSignal.timeout(10_000),
    })
    const text = items
      .sort((a, b) => eventTime(a).localeCompare(eventTime(b)))
      .map(e => `event ${String(e.reason ?? '')}: ${String(e.message ?? '').slice(0, 300)}`)
    lines.push(...text.slice(-evidenceEvents))
  } catch {
    lines.push('(events could not be read)')
  }
  for (const container of containersOf(pod).slice(0, 2)) {
    const target = { namespace, pod: pod.metadata.name, container: container.name }
    try {
      const previous = container.restarted
        ? await tailLog(api, target, { lines: evidenceLogLines, previous: true })
        : []
      const log = previous.length > 0 ? previous : await tailLog(api, target, { lines: evidenceLogLines })
      if (log.length > 0)
        lines.push(`last lines of ${pod.metadata.name}/${container.name}:`, ...log.slice(-evidenceLogLines))
    } catch {
      lines.push(`(log of ${container.name} could not be read)`)
    }
  }
  return lines
}

const eventTime = (e: KubeObject): string =>
  String(e.lastTimestamp ?? e.eventTime ?? e.metadata.creationTimestamp ?? '')

/** The same error with the evidence of these pods added; a bug stays a bug. */
export async function withPodEvidence(error: unknown, api: Api, pods: readonly KubeObject[]): Promise<unknown> {
  if (!(error instanceof UserError)) return error
  const failure = asFailure(error)
  const extra = (await Promise.all(pods.slice(0, 3).map(p => podEvidence(api, p)))).flat()
  return new UserError(failure.code, failure.what, {
    why: failure.why,
    next: failure.next,
    evidence: [...failure.evidence, ...extra],
    cause: error.cause,
  })
}
