import type { Api } from '../cluster/api.ts'
import { list } from '../cluster/objects.ts'
import { type ProbeAnswer, probe } from '../cluster/probe.ts'
import { UserError } from '../errors.ts'
import type { StackSpec } from '../stack/spec.ts'
import type { Session } from './session.ts'

const smokeSeconds = 60
/** The model server's port inside the pod as the InferencePool sees it (the routing sidecar). */
const servingPort = 8000

/**
 * Asks every decode pod and the gateway, from inside the cluster, for the model, and the gateway for one completion.
 * @throws UserError SMOKE naming the endpoint and both model ids.
 */
export async function smokeTest(
  api: Api,
  spec: StackSpec,
  endpoint: string,
  session: Pick<Session<unknown>, 'signal' | 'log' | 'runId'>,
): Promise<void> {
  const { items } = await list(api, 'Pod', spec.namespace, {
    labelSelector: `llm-d.ai/model=${spec.label},llm-d.ai/role=decode`,
    signal: session.signal,
  })
  const pods = items
    .filter(p => p.metadata.deletionTimestamp === undefined)
    .map(p => ({ name: p.metadata.name, ip: (p.status as { podIP?: string } | undefined)?.podIP }))
  const withIp = pods.filter((p): p is { name: string; ip: string } => p.ip !== undefined && p.ip !== '')
  if (withIp.length === 0) {
    throw new UserError('SMOKE', `No decode pod of ${spec.label} has an address.`, {
      why: 'The Deployment was ready a moment ago; its pods were deleted or evicted since.',
      next: 'Look at the events of the namespace, then run standup again.',
    })
  }
  const answers = await probe(
    api,
    [
      ...withIp.map(p => ({ url: `http://${p.ip.includes(':') ? `[${p.ip}]` : p.ip}:${servingPort}` })),
      { url: endpoint, completionModel: spec.model },
    ],
    {
      namespace: spec.namespace,
      stack: spec.stack,
      runId: session.runId,
      image: spec.images.harness,
      placement: spec.placement,
      openShift: spec.openShift ?? false,
      accelerator: spec.gpuNodesOnly ? undefined : spec.accelerator,
      seconds: smokeSeconds,
      code: 'SMOKE',
      signal: session.signal,
      log: session.log,
    },
  )
  for (const [i, answer] of answers.entries()) {
    const who = i < withIp.length ? `pod ${withIp[i]!.name}` : 'the gateway'
    checkAnswer(answer, spec.model, who)
    session.log.info(`${who} answers with ${spec.model}`)
  }
}

/** @throws UserError SMOKE when an endpoint does not serve the model, or gives no completion. */
export function checkAnswer(answer: ProbeAnswer, model: string, who: string): void {
  const evidence = [`GET ${answer.url}/v1/models -> ${answer.status || 'no answer'} ${answer.body.slice(0, 300)}`]
  if (answer.status !== 200) {
    throw new UserError('SMOKE', `The endpoint of ${who} (${answer.url}) does not answer.`, {
      why: answer.status === 0 ? 'There was no HTTP answer within the time.' : `It answered ${answer.status}.`,
      next: 'Look at the logs of the gateway, the endpoint picker and the vllm containers in the folder of this step.',
      evidence,
    })
  }
  if (!answer.models.includes(model)) {
    throw new UserError(
      'SMOKE',
      `The endpoint of ${who} serves ${answer.models.join(', ') || 'no model'} instead of ${model}.`,
      {
        why: 'The model server was started with another name, or the address belongs to another stack.',
        next: 'Check the input `model` and the arguments of the vllm container in plan.yaml.',
        evidence,
      },
    )
  }
  const { completion } = answer
  if (completion !== undefined && (completion.status !== 200 || completion.text === undefined)) {
    throw new UserError('SMOKE', `The gateway lists ${model} but completes nothing.`, {
      why: `POST /v1/completions answered ${completion.status || 'nothing'}.`,
      next: 'Look at the log of the vllm container: the engine may have died after it had loaded the weights.',
      evidence: [...evidence, `POST /v1/completions -> ${completion.body.slice(0, 300)}`],
    })
  }
}
