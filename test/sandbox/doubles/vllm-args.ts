/** Options of `vllm serve` that the stacks here may use; anything else is refused, as argparse refuses it. */
const withValue = new Set(
  (
    'host port served-model-name block-size max-model-len tensor-parallel-size gpu-memory-utilization kv-transfer-config max-num-seqs ' +
    'max-num-batched-tokens dtype seed load-format tokenizer trust-remote-code-revision revision data-parallel-size pipeline-parallel-size ' +
    'quantization kv-cache-dtype swap-space uvicorn-log-level api-key download-dir data-parallel-size-local kv-events-config prefix-caching-hash-algo'
  ).split(' '),
)
const switches = new Set(
  (
    'enforce-eager disable-log-requests no-enable-log-requests enable-log-requests disable-uvicorn-access-log enable-prefix-caching ' +
    'no-enable-prefix-caching enable-chunked-prefill no-enable-chunked-prefill trust-remote-code disable-log-stats enable-auto-tool-choice'
  ).split(' '),
)

export interface ServeArguments {
  /** A folder with weights, or a model id of the hub. */
  readonly model: string
  readonly options: ReadonlyMap<string, string>
}

/** Reads `serve MODEL --option ...`. Returns the words of the complaint when vLLM would exit with 2. */
export function parseServe(argv: readonly string[]): ServeArguments | string {
  if (argv[0] !== 'serve') return `argument subparser: invalid choice: '${argv[0] ?? ''}' (choose from 'serve')`
  const options = new Map<string, string>()
  const unknown: string[] = []
  let model: string | undefined
  for (let i = 1; i < argv.length; i++) {
    const word = argv[i]!
    if (!word.startsWith('-')) {
      if (model === undefined) model = word
      else unknown.push(word)
      continue
    }
    const [name, inline] = word.replace(/^--?/, '').replaceAll('_', '-').split(/=(.*)/s) as [string, string | undefined]
    if (switches.has(name)) options.set(name, 'true')
    else if (!withValue.has(name)) unknown.push(word)
    else if (inline === undefined && argv[i + 1] === undefined) return `argument --${name}: expected one argument`
    else options.set(name, inline ?? argv[++i]!)
  }
  if (unknown.length > 0) return `unrecognized arguments: ${unknown.join(' ')}`
  for (const name of ['port', 'block-size', 'max-model-len', 'tensor-parallel-size', 'max-num-seqs']) {
    const value = options.get(name)
    if (value !== undefined && !/^\d+$/.test(value)) return `argument --${name}: invalid int value: '${value}'`
  }
  const transfer = options.get('kv-transfer-config')
  if (transfer !== undefined) {
    try {
      JSON.parse(transfer)
    } catch {
      return `argument --kv-transfer-config: Value ${transfer} cannot be converted to <function loads>`
    }
  }
  return { model: model ?? 'Qwen/Qwen3-0.6B', options }
}
