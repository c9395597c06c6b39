import type { Api } from '../cluster/api.ts'
import { reconcileInterval } from '../cluster/autoscaling.ts'
import { Observer } from '../cluster/observer.ts'
import type { Workload } from '../harness/profiles.ts'
import type { RunInputs } from '../inputs.ts'
import type { ChainBreak, Reaction, Repeat, Settled, WatchEvent } from '../results/schema.ts'
import { type Inventory, loadedAnnotation } from '../stack/inventory.ts'
import type { KubeObject } from '../stack/kube.ts'
import { chainBreaks } from '../timeline/chain.ts'
import { expectedReaction, reactionWarning, startSeconds } from '../timeline/reaction.ts'
import { decodePods, type Scalers, watchScalers } from './scalers.ts'
import type { Session } from './session.ts'
import { atStart, blindAfterIntervals, reset, restoreScalers, waitForStart } from './settle.ts'

/** Longest wait for one link of the chain between repeats; standup has proven that it takes less. */
const gateMs = 5 * 60_000
/** The HPA looks every 15 s, we every 5 s: one look that fails is no outage. */
const leastOutageMs = 20_000
/** `lastRunTime` has whole seconds, and an event needs its time to arrive. */
const clockSlackMs = 3000

/** What a run of a WVA leg does besides loading. */
export interface RunScaling {
  readonly reaction: Reaction
  /** Brings the stack to its start state, as the input `settle` asks. */
  settle(): Promise<Settled>
  /** Links that broke while the steps of a repeat were loaded. */
  breaks(repeat: Pick<Repeat, 'steps' | 'clockOffsetMs'>, events: readonly WatchEvent[]): ChainBreak[]
  close(): Promise<void>
}

/** What the steps on the scalers need, from what standup left. Undefined for a leg without WVA. */
function scalersOf(
  api: Api,
  stack: Inventory,
  observer: Observer,
  session: Pick<Session<unknown>, 'log' | 'signal'>,
): Scalers | undefined {
  const { autoscaling } = stack
  if (autoscaling === undefined) return undefined
  return { api, target: { ...stack, autoscaling }, observer, gateMs, signal: session.signal, log: session.log }
}

/** Does one thing with the scalers of a stack; nothing, and undefined, for a leg without WVA. */
export async function withScalers<T>(
  api: Api,
  stack: Inventory,
  session: Pick<Session<unknown>, 'log' | 'signal'>,
  work: (scalers: Scalers) => Promise<T>,
): Promise<T | undefined> {
  const observer = new Observer(api, stack.namespace, session.log, session.signal)
  const scalers = scalersOf(api, stack, observer, session)
  if (scalers === undefined) return undefined
  try {
    await watchScalers(observer, stack.stack)
    return await work(scalers)
  } finally {
    await observer.close()
  }
}

/**
 * Opens a run of a WVA leg: says before any load whether WVA can react within a step at all.
 * @param inventory the object of the inventory: its annotation says whether the stack was loaded since it stood up
 * @returns undefined for a leg without WVA
 */
export async function openScaling(
  api: Api,
  session: Session<RunInputs>,
  stack: Inventory | undefined,
  inventory: KubeObject | undefined,
  workload: Workload,
): Promise<RunScaling | undefined> {
  if (stack?.autoscaling === undefined) return undefined
  const { inputs, log, signal } = session
  const observer = new Observer(api, stack.namespace, log, signal)
  const scalers = scalersOf(api, stack, observer, session)!
  let reconcileMs: number
  try {
    await watchScalers(observer, stack.stack)
    reconcileMs = await reconcileInterval(api, stack.autoscaling.controllerNamespace, signal)
  } catch (error) {
    await observer.close()
    throw error
  }
  const reaction = expectedReaction({
    behavior: stack.autoscaling.behavior,
    reconcileMs,
    startSeconds: startSeconds(decodePods(observer.view)) ?? 0,
    stepSeconds: workload.secondsPerRate,
  })
  const warning = reactionWarning(reaction)
  if (warning !== undefined) log.warning(warning)
  // Whatever was loaded since the chain was proven is still in the controller's query window.
  let untouched = inventory?.metadata.annotations?.[loadedAnnotation] === undefined
  return {
    reaction,
    async settle() {
      const wasUntouched = untouched
      untouched = false
      if (inputs.settle.kind === 'wait') {
        await restoreScalers(scalers)
        return waitForStart(scalers, { ms: inputs.settle.ms, reconcileMs, now: () => api.serverNow() })
      }
      if (wasUntouched) {
        const verdict = await atStart(scalers, reconcileMs, api.serverNow())
        if (verdict.state === 'ready') return { how: 'proven', seconds: 0, tries: 0 }
        log.info(`not at the start state: ${verdict.why}`)
      }
      return reset(scalers, { windowMs: inputs.settleWindowMs, fresh: false })
    },
    breaks({ steps, clockOffsetMs = 0 }, events) {
      if (steps.length === 0) return []
      return chainBreaks(events, {
        from: Math.min(...steps.map(s => s.begin)) * 1000 - clockOffsetMs,
        to: Math.max(...steps.map(s => s.begin + s.seconds)) * 1000 - clockOffsetMs,
        blindMs: blindAfterIntervals * reconcileMs + clockSlackMs,
        toleratedMs: Math.max(reconcileMs, leastOutageMs),
      })
    },
    close: () => observer.close(),
  }
}
