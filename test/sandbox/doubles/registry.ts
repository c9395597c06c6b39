import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const file = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** Programs on the containers' PATH: command name to the file that plays it. */
export const programs: Readonly<Record<string, string>> = {
  vllm: file('./vllm.ts'),
  'routing-sidecar': file('./routing-sidecar.ts'),
  epp: file('./epp.ts'),
  'istio-proxy': file('./istio-proxy.ts'),
  guidellm: file('./guidellm/main.ts'),
  curl: file('./curl.ts'),
  python3: file('./python3.ts'),
  hf: file('./hf.ts'),
  pip: file('./pip.ts'),
  prometheus: file('./prometheus.ts'),
  manager: file('./manager.ts'),
  adapter: file('./adapter.ts'),
}

/** What an image runs when the pod names no command; the pod's args follow. */
export const entrypoints: readonly { readonly image: RegExp; readonly argv: readonly string[] }[] = [
  { image: /llm-d-routing-sidecar/, argv: ['routing-sidecar'] },
  { image: /llm-d-inference-scheduler/, argv: ['epp'] },
  { image: /\/proxyv2\b/, argv: ['istio-proxy'] },
  { image: /\/prometheus:/, argv: ['prometheus'] },
  { image: /\/workload-variant-autoscaler:/, argv: ['manager'] },
  { image: /\/prometheus-adapter:/, argv: ['adapter'] },
]

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/**
 * Writes one shell wrapper per program into `dir`. `exec`, so that a signal reaches the program itself; the compile
 * cache saves the stripping of types at every start but the first.
 */
export async function writeBin(dir: string, nodePath: string): Promise<void> {
  await mkdir(dir, { recursive: true })
  await Promise.all(
    Object.entries(programs).map(async ([name, path]) => {
      const script = `#!/bin/sh\nNODE_COMPILE_CACHE=${quoted(join(dir, '.cache'))} exec ${quoted(nodePath)} --disable-warning=ExperimentalWarning ${quoted(path)} "$@"\n`
      await writeFile(join(dir, name), script)
      await chmod(join(dir, name), 0o755)
    }),
  )
}
