// A simulated cluster with a model hub and a GitHub, and the bundle started on them as a runner starts it.
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { runAction } from '../test/e2e/run-action.ts'
import { startGithub } from '../test/sandbox/github/server.ts'
import { startHub } from '../test/sandbox/hub.ts'
import { startSandbox } from '../test/sandbox/sandbox.ts'

export const namespace = 'llm-d-bench'
const model = 'meta-llama/Llama-3.1-8B'
const hfToken = 'hf_bench0123456789abcdefghij'

/** `downloadMs` delays the weights file; everything else goes to the sandbox. */
export async function startCluster({ downloadMs = 0, ...options } = {}) {
  const hub = await startHub({ gated: { [model]: [hfToken] }, downloadMs })
  const sandbox = await startSandbox({ speed: 10, ...options, hosts: [hub.url] })
  const github = await startGithub({ pr: 7 })
  const temp = await mkdtemp(path.join(tmpdir(), 'bench-action-bench-'))
  const common = {
    kubeconfig: sandbox.kubeconfig,
    namespace,
    model,
    'github-token': github.token,
    matrix: '{"wva": false}',
  }
  const own = {
    standup: { 'hf-token': hfToken, 'hf-endpoint': hub.url, 'model-cache-size': '20Gi' },
    run: { repeats: '1' },
    teardown: {},
  }
  let steps = 0
  return {
    sandbox,
    /** One step, which must succeed; `lines` are what it logged, each with its milliseconds since the start. */
    async step(mode, more = {}) {
      const out = path.join(temp, `${++steps}-${mode}`)
      const started = performance.now()
      const lines = []
      const run = await runAction({
        inputs: { ...common, ...own[mode], mode, out, ...more },
        env: github.env,
        onOutput: text => {
          const at = performance.now() - started
          for (const line of text.split('\n'))
            if (line.trim() !== '' && !line.startsWith('::add-mask')) lines.push({ at, text: line })
        },
      })
      if (run.exitCode !== 0)
        throw new Error(`${mode} failed (exit code ${run.exitCode}):\n${run.stdout}\n${run.stderr}`)
      return { ...run, out, lines, started }
    },
    async close() {
      await sandbox.close()
      await Promise.all([hub.close(), github.close()])
    },
  }
}

export const median = values => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]
export const seconds = ms => `${(ms / 1000).toFixed(2).padStart(6)} s`
