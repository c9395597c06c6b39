import type { Api } from '../cluster/api.ts'
import { reconcileInterval } from '../cluster/autoscaling.ts'
import { chainBroken } from '../cluster/gate.ts'
import { Observer } from '../cluster/observer.ts'
import type { StandupInputs } from '../inputs.ts'
import type { Scalers } from './scalers.ts'
import { watchScalers } from './scalers.ts'
import type { Session } from './session.ts'
import { atStart, reset } from './settle.ts'

/**
 * Puts a stack that serves under WVA, and proves the chain: the first repeat then needs no reset. A stack that stands at
 * its start state already is left alone.
 * @throws UserError WVA_CHAIN naming the link that does not work
 */
export async function startScaling(
  api: Api,
  target: Scalers['target'],
  session: Session<StandupInputs>,
  fresh: boolean,
): Promise<void> {
  const { log, signal, inputs } = session
  const stop = new AbortController()
  const scope = AbortSignal.any([signal, stop.signal])
  const observer = new Observer(api, target.namespace, log, scope)
  try {
    await watchScalers(observer, target.stack)
    const scalers: Scalers = { api, target, observer, gateMs: inputs.timeouts.gatesMs, signal: scope, log }
    if (!fresh) {
      const interval = await reconcileInterval(api, target.autoscaling.controllerNamespace, signal)
      const verdict = await atStart(scalers, interval, api.serverNow())
      if (verdict.state === 'ready') {
        log.info('the stack stands at its start state already, and the chain works')
        return
      }
    }
    const settled = await reset(scalers, { windowMs: inputs.settleWindowMs, fresh })
    if (settled.carriedOver !== undefined) {
      throw chainBroken(
        'the decision of WVA',
        settled.carriedOver,
        'Something else loads the stack, or the controller still sees an earlier one: wait a minute and stand it up again.',
      )
    }
  } finally {
    stop.abort()
    await observer.close()
  }
}
