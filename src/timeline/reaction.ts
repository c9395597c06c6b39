import type { Reaction } from '../results/schema.ts'
import type { HpaBehavior } from '../stack/components/autoscaling.ts'
import type { KubeObject } from '../stack/kube.ts'

/** The API's own default for scaling up. https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#default-behavior */
const defaultUpWindowSeconds = 0

/**
 * Seconds from saturation to a replica that serves: the window for which the HPA holds a higher number back, the
 * controller's reconcile interval, and the start of a model server. What Prometheus, the adapter and the HPA add with
 * their own periods (about 15 s each) is not in it: it is a lower bound.
 */
export function expectedReaction(of: {
  readonly behavior: HpaBehavior
  readonly reconcileMs: number
  readonly startSeconds: number
  readonly stepSeconds: number
}): Reaction {
  const { scaleUp } = of.behavior
  const window = scaleUp?.stabilizationWindowSeconds ?? defaultUpWindowSeconds
  const reconcile = of.reconcileMs / 1000
  const rest = reconcile + of.startSeconds
  const fits = window + rest <= of.stepSeconds
  // A window of whole seconds; a third of the step is left for the new replica to serve in.
  const longest = Math.floor((2 / 3) * of.stepSeconds - rest)
  return {
    seconds: window + rest,
    parts: { window, reconcile, start: of.startSeconds },
    stepSeconds: of.stepSeconds,
    ...(fits || longest < 0 ? {} : { windowThatFits: longest }),
  }
}

/** One sentence for the log; undefined when a reaction fits into a step. */
export function reactionWarning(reaction: Reaction): string | undefined {
  const { seconds, parts, stepSeconds, windowThatFits } = reaction
  if (seconds <= stepSeconds) return undefined
  const s = (n: number) => `${Math.round(n * 10) / 10} s`
  const advice =
    windowThatFits === undefined
      ? 'no scale-up window would make it fit: use longer steps (workload chatbot_autoscaling, or max_seconds in workload-overrides)'
      : `a scale-up window of ${windowThatFits} s would fit (hpa-behavior: {scaleUp: {stabilizationWindowSeconds: ${windowThatFits}}}), or longer steps (workload chatbot_autoscaling)`
  return `WVA needs about ${s(seconds)} from saturation to a serving replica (${s(parts.window)} HPA window + ${s(parts.reconcile)} reconcile + ${s(parts.start)} start-up), longer than a step of ${s(stepSeconds)}: within a step it cannot help; ${advice}`
}

interface PodStatus {
  readonly conditions?: readonly {
    readonly type: string
    readonly status: string
    readonly lastTransitionTime?: string
  }[]
  readonly containerStatuses?: readonly {
    readonly name: string
    readonly state?: { readonly running?: { readonly startedAt?: string } }
  }[]
}

/**
 * Seconds that a model server took from the start of its container until it was ready, the longest of the pods: what a
 * further replica will need once its node has the image. Undefined when no pod tells.
 */
export function startSeconds(pods: readonly KubeObject[]): number | undefined {
  const times = pods.flatMap(pod => {
    const { conditions = [], containerStatuses = [] } = (pod.status ?? {}) as PodStatus
    const ready = Date.parse(conditions.find(c => c.type === 'Ready' && c.status === 'True')?.lastTransitionTime ?? '')
    const started = Date.parse(containerStatuses.find(c => c.name === 'vllm')?.state?.running?.startedAt ?? '')
    const seconds = (ready - started) / 1000
    return Number.isFinite(seconds) && seconds >= 0 ? [seconds] : []
  })
  return times.length === 0 ? undefined : Math.max(...times)
}
