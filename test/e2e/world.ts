import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { startGithub } from '../sandbox/github/server.ts'
import { startHub } from '../sandbox/hub.ts'
import { type SandboxOptions, startSandbox } from '../sandbox/sandbox.ts'
import { type ActionRun, runAction } from './run-action.ts'

export const model = 'meta-llama/Llama-3.1-8B'
export const namespace = 'llm-d-bench'
/** Canaries: texts that must never be seen outside the places that need them. */
export const hfToken = 'hf_CANARYtokenABCDEFGHIJKLMNOP0123'

/** A profile of about two seconds per rate. */
export const shortProfile = (rates = '[2, 4]', seconds = 2): string =>
  [
    `rate: ${rates}`,
    `max_seconds: ${seconds}`,
    'data.prompt_tokens: 100',
    'data.prompt_tokens_stdev: 20',
    'data.prompt_tokens_max: 200',
    'data.output_tokens: 20',
    'data.output_tokens_stdev: 5',
    'data.output_tokens_max: 40',
  ].join('\n')

/** One cluster, one model hub, one GitHub, and the action as a runner would start it against them. */
export async function startWorld(options: { sandbox?: SandboxOptions; pr?: number; hubInCluster?: boolean } = {}) {
  const hub = await startHub({ gated: { [model]: [hfToken] } })
  const hosts = options.hubInCluster === false ? [] : [hub.url]
  const sandbox = await startSandbox({ speed: 10, ...options.sandbox, hosts })
  const github = await startGithub({ pr: options.pr ?? 7 })
  const temp = await mkdtemp(path.join(tmpdir(), 'bench-action-e2e-'))
  const common = {
    kubeconfig: sandbox.kubeconfig,
    namespace,
    model,
    'github-token': github.token,
    matrix: '{"wva": false}',
  }
  const inputsOf: Record<'standup' | 'run' | 'teardown', Record<string, string>> = {
    standup: { ...common, mode: 'standup', 'hf-token': hfToken, 'hf-endpoint': hub.url, 'model-cache-size': '20Gi' },
    run: { ...common, mode: 'run', repeats: '1', 'workload-overrides': shortProfile() },
    teardown: { ...common, mode: 'teardown' },
  }
  let steps = 0
  return {
    hub,
    sandbox,
    github,
    temp,
    inputsOf,
    /** Main half of a step. */
    async main(
      mode: keyof typeof inputsOf,
      more: Readonly<Record<string, string>> = {},
      extra: {
        onOutput?: (text: string) => void
        onSpawn?: (kill: (signal: NodeJS.Signals) => void) => void
        env?: Record<string, string>
      } = {},
    ): Promise<ActionRun & { inputs: Record<string, string> }> {
      const inputs = { out: path.join(temp, `${++steps}-${mode}`), ...inputsOf[mode], ...more }
      const { env, ...hooks } = extra
      return { ...(await runAction({ inputs, env: { ...github.env, ...env }, ...hooks })), inputs }
    },
    /** Post half of a step that was run by `main`. */
    post: (step: ActionRun & { inputs: Record<string, string> }) =>
      runAction({ inputs: step.inputs, env: github.env, state: step.state }),
    /** Names of a namespace's objects, by resource id. */
    names: (resource: string, of = namespace) =>
      sandbox.api.store
        .list(resource, of)
        .map(o => o.metadata.name)
        .sort(),
    async close() {
      await sandbox.close()
      await Promise.all([hub.close(), github.close()])
    },
  }
}
export type World = Awaited<ReturnType<typeof startWorld>>

/** What differs from an earlier snapshot, without what is kept on purpose: namespace (with its default objects), weights, token, events. */
export function leftovers(before: readonly string[], after: readonly string[]): string[] {
  const onPurpose =
    /\b(Namespace|Event|PersistentVolumeClaim|PersistentVolume|Secret)\b|kube-root-ca\.crt|ServiceAccount\s+\S*\s*default\b|ServiceAccount.*\/default$/
  return after.filter(line => !before.includes(line) && !onPurpose.test(line))
}
