import type { KubeObject } from '../../../src/stack/kube.ts'
import { type Cluster, keyOf, splitKey } from './cluster.ts'
import {
  type Condition,
  controllerOf,
  finished,
  isReady,
  now,
  type Pod,
  type PodTemplate,
  withCondition,
} from './objects.ts'
import { createPod, podsOf } from './replicaset.ts'

type Job = KubeObject & {
  spec: {
    backoffLimit: number
    completions: number
    parallelism: number
    activeDeadlineSeconds?: number
    suspend?: boolean
    template: PodTemplate
  }
  status?: { startTime?: string; conditions?: Condition[] }
}

const component = 'job-controller'

/**
 * Runs Jobs to completion or to their back-off limit.
 * @param backoffMs wait before the pod that replaces the first failed one; doubles from there
 */
export function startJobController(cluster: Cluster, backoffMs: number): void {
  const retryAt = new Map<string, number>()
  const sync = cluster.queue(key => {
    const job = cluster.get<Job>('jobs.batch', ...splitKey(key))
    if (job === undefined || job.metadata.deletionTimestamp || job.spec.suspend) return
    if (job.status?.conditions?.some(c => (c.type === 'Complete' || c.type === 'Failed') && c.status === 'True')) return
    const startTime = job.status?.startTime ?? now()
    const age = Date.now() - Date.parse(startTime)
    const limit =
      job.spec.activeDeadlineSeconds === undefined ? Number.POSITIVE_INFINITY : job.spec.activeDeadlineSeconds * 1000
    if (job.status?.startTime === undefined && Number.isFinite(limit))
      cluster.after(Math.min(limit + 1000, 2 ** 31 - 1), () => sync(key))

    const pods = podsOf(cluster, job)
    const succeeded = pods.filter(p => p.status?.phase === 'Succeeded').length
    const failed = pods.filter(p => p.status?.phase === 'Failed').length
    const active = pods.filter(p => !finished(p) && !p.metadata.deletionTimestamp)
    const restarts = active
      .flatMap(p => [...(p.status?.initContainerStatuses ?? []), ...(p.status?.containerStatuses ?? [])])
      .reduce((n, c) => n + c.restartCount, 0)
    const { backoffLimit, completions, parallelism } = job.spec
    const exhausted = job.spec.template.spec.restartPolicy === 'OnFailure' && restarts > 0 && restarts >= backoffLimit
    if (failed > backoffLimit || exhausted) {
      return fail(
        cluster,
        job,
        active,
        { succeeded, failed: failed + (exhausted ? active.length : 0), startTime },
        'BackoffLimitExceeded',
        'Job has reached the specified backoff limit',
      )
    }
    if (age >= limit) {
      return fail(
        cluster,
        job,
        active,
        { succeeded, failed: failed + active.length, startTime },
        'DeadlineExceeded',
        'Job was active longer than specified deadline',
      )
    }
    if (succeeded >= completions) return complete(cluster, job, succeeded, failed, startTime)
    const due =
      retryAt.get(`${job.metadata.uid}/${failed}`) ?? Date.now() + (failed === 0 ? 0 : backoffMs * 2 ** (failed - 1))
    retryAt.set(`${job.metadata.uid}/${failed}`, due)
    const missing = Math.min(parallelism, completions - succeeded) - active.length
    if (missing > 0 && Date.now() < due) cluster.after(due - Date.now(), () => sync(key))
    else
      for (let i = 0; i < missing; i++) if (createPod(cluster, job, job.spec.template, component) !== undefined) break
    const running = podsOf(cluster, job).filter(p => !finished(p) && !p.metadata.deletionTimestamp)
    const ready = running.filter(isReady).length
    setStatus(cluster, job, { startTime, active: running.length, ready, succeeded, failed }, [])
  })
  cluster.watch(['jobs.batch'], ({ object }) => sync(keyOf(object)))
  cluster.watch(['pods'], ({ object }) => {
    const owner = controllerOf(object)
    if (owner?.kind === 'Job') sync(`${object.metadata.namespace}/${owner.name}`)
  })
  cluster.watch(['serviceaccounts'], ({ type, object }) => {
    if (type === 'ADDED') for (const job of cluster.list<Job>('jobs.batch', object.metadata.namespace)) sync(keyOf(job))
  })
}

interface Counts {
  startTime: string
  completionTime?: string
  active?: number
  ready?: number
  succeeded: number
  failed: number
}

function setStatus(cluster: Cluster, job: Job, counts: Counts, conditions: readonly Condition[]): void {
  const { startTime, completionTime, ...numbers } = counts
  const shown = Object.fromEntries(
    Object.entries({ ready: 0, ...numbers }).filter(([name, n]) => n > 0 || name === 'ready'),
  )
  const all = conditions.reduce((list, c) => withCondition(list, c), job.status?.conditions ?? [])
  const status = {
    startTime,
    ...(completionTime ? { completionTime } : {}),
    ...shown,
    uncountedTerminatedPods: {},
    ...(all.length > 0 ? { conditions: all } : {}),
  }
  cluster.setStatus(job, 'jobs.batch', () => status, 'kube-controller-manager')
}

function complete(cluster: Cluster, job: Job, succeeded: number, failed: number, startTime: string): void {
  const why = {
    status: 'True',
    reason: 'CompletionsReached',
    message: 'Reached expected number of succeeded pods',
  } as const
  const conditions = [
    { type: 'SuccessCriteriaMet', ...why },
    { type: 'Complete', ...why },
  ]
  setStatus(cluster, job, { startTime, completionTime: now(), succeeded, failed }, conditions)
  cluster.event(job, { type: 'Normal', reason: 'Completed', message: 'Job completed', component })
}

function fail(
  cluster: Cluster,
  job: Job,
  active: readonly Pod[],
  counts: Counts,
  reason: string,
  message: string,
): void {
  for (const pod of active) cluster.remove(pod, 'pods')
  const why = { status: 'True', reason, message } as const
  setStatus(cluster, job, counts, [
    { type: 'FailureTarget', ...why },
    { type: 'Failed', ...why },
  ])
  cluster.event(job, { type: 'Warning', reason, message, component })
}
