import type { Api } from '../cluster/api.ts'
import { isForbidden } from '../cluster/api-error.ts'
import { get } from '../cluster/objects.ts'
import { probe } from '../cluster/probe.ts'
import { UserError } from '../errors.ts'
import type { RunInputs } from '../inputs.ts'
import type { Inventory } from '../stack/inventory.ts'
import { tokenSecretName } from '../stack/names.ts'
import { endpointOf } from './endpoint.ts'
import type { Session } from './session.ts'
import { checkAnswer } from './smoke.ts'

const endpointAttemptSeconds = 20

/**
 * The address that guidellm loads and the model it asks for, after the endpoint has answered with it from inside the
 * cluster.
 * @throws UserError HARNESS, GATEWAY
 */
export async function findEndpoint(
  api: Api,
  session: Session<RunInputs>,
  stack: Inventory | undefined,
  facts: { openShift: boolean; gpuNodesOnly: boolean },
): Promise<{ url: string; model: string }> {
  const { inputs, log, signal } = session
  const url = await endpointOf(api, inputs.endpoint, {
    namespace: inputs.namespace.model,
    ...(stack ? { gateway: stack.gateway } : {}),
    signal,
  })
  const [answer] = await probe(api, [{ url }], {
    namespace: inputs.namespace.harness,
    stack: stack?.stack ?? `endpoint-${session.runId}`,
    runId: session.runId,
    image: inputs.images.harness,
    placement: inputs.placement,
    openShift: facts.openShift,
    accelerator: facts.gpuNodesOnly ? undefined : stack?.accelerator,
    seconds: endpointAttemptSeconds,
    code: 'HARNESS',
    signal,
    log,
  })
  const wanted = inputs.model === 'auto' ? answer!.models[0] : inputs.model
  try {
    checkAnswer(answer!, wanted ?? '', 'the stack')
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    const f = error.failure
    throw new UserError('HARNESS', f.what, { why: f.why, next: f.next, evidence: f.evidence })
  }
  log.info(`endpoint ${url} serves ${wanted}`)
  return { url, model: wanted! }
}

/** Whether the harness finds the hub token in its namespace. */
export async function hasToken(api: Api, namespace: string, signal: AbortSignal): Promise<boolean> {
  try {
    return (await get(api, 'Secret', namespace, tokenSecretName, signal)) !== undefined
  } catch (error) {
    // Not allowed to look: the pod refers to it as optional.
    if (isForbidden(error)) return true
    throw error
  }
}
