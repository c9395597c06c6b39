import { defaultPath, wellLitPaths } from '../paths/index.ts'

export const modes = ['standup', 'run', 'teardown'] as const
export type Mode = (typeof modes)[number]

/** What a text must look like. `shape` is how help writes the value; who reads the field checks it. */
export type FieldKind =
  | { readonly kind: 'secret' }
  | { readonly kind: 'boolean' }
  | { readonly kind: 'oneOf'; readonly values: readonly string[] }
  | { readonly kind: 'text'; readonly shape: string }

/** One input: everything that action.yml, README and help say about it. */
export interface Field {
  readonly name: string
  readonly modes: readonly Mode[]
  readonly kind: FieldKind
  /** As it stands in action.yml, empty for none; a workflow expression is a default for the runner alone. */
  readonly default: string
  readonly help: string
  /** Without it no mode works. */
  readonly required: boolean
  /** Fills itself; not in help or README. */
  readonly hidden: boolean
}

const secret: FieldKind = { kind: 'secret' }
const boolean: FieldKind = { kind: 'boolean' }
const oneOf = (...values: string[]): FieldKind => ({ kind: 'oneOf', values })
const text = (shape: string): FieldKind => ({ kind: 'text', shape })

type Extra = { readonly default?: string; readonly required?: true; readonly hidden?: true }
function field(name: string, letters: string, kind: FieldKind, help: string, extra: Extra = {}): Field {
  const own = modes.filter(m => letters.includes(m.charAt(0)))
  return {
    name,
    modes: own,
    kind,
    help,
    default: extra.default ?? '',
    required: extra.required ?? false,
    hidden: extra.hidden ?? false,
  }
}

// Tags in public use with these components; none was pulled to check, and the help says so.
const unverified = 'The default tag was not verified by a pull; the digest that really ran is recorded.'

/** THE table of inputs: name, modes (s standup, r run, t teardown), kind, help. A new input is a row here. */
export const fields: readonly Field[] = [
  field(
    'mode',
    'srt',
    oneOf(...modes),
    'standup brings the model stack up, run loads and measures it, teardown removes it and proves that nothing is left.',
    { required: true },
  ),
  field(
    'kubeconfig',
    'srt',
    secret,
    'Content of a kubeconfig or base64 of it, or `in-cluster` for the ServiceAccount of the pod that the runner is. Everything must be embedded. A dry run of standup or run works without.',
  ),
  field('context', 'srt', text('name'), 'Context of the kubeconfig; empty means its current-context.'),
  field(
    'namespace',
    'srt',
    text('model[,harness]'),
    '`model` or `model,harness`: where the stack and the load generator live. One name means both.',
    { required: true },
  ),
  field('release', 's', text('name'), 'Name in the objects of the gateway.', { default: 'llmdbench' }),
  field(
    'model',
    'srt',
    text('org/name'),
    'Hugging Face id. In run, `auto` takes what the endpoint serves; in teardown it only names the comparison.',
    { default: 'meta-llama/Llama-3.1-8B' },
  ),
  field('well-lit-path', 's', oneOf(...Object.keys(wellLitPaths)), 'Which stack.', { default: defaultPath }),
  field(
    'wva',
    's',
    boolean,
    'Put the model under the Workload Variant Autoscaler: HPA and VariantAutoscaling are made, and the chain is proven to work.',
    { default: 'false' },
  ),
  field('hf-token', 's', secret, 'Hugging Face token; required only for gated models.'),
  field('hf-endpoint', 's', text('url'), 'Address of a model hub mirror; empty means the public hub.'),
  field(
    'replicas',
    's',
    text('1..1000'),
    'Decode replicas of a leg without WVA; a WVA leg starts every repeat with 1.',
    {
      default: '2',
    },
  ),
  field('max-replicas', 's', text('1..1000'), 'Ceiling of the HPA of a WVA leg.', { default: '10' }),
  field(
    'hpa-behavior',
    's',
    text('yaml'),
    'YAML of HPA `behavior` (scaleUp, scaleDown); a direction that is left out keeps the windows of 240 s of the WVA chart.',
  ),
  field('wva-namespace', 's', text('name'), 'Where the WVA controller is expected.', { default: 'llm-d-autoscaler' }),
  field(
    'wva-version',
    's',
    text('0.4.x'),
    'Version of the WVA controller that is expected; another patch release is used and named, another generation is refused.',
    { default: '0.4.2' },
  ),
  field(
    'service-monitor-labels',
    's',
    text('yaml'),
    'YAML map of more labels for the ServiceMonitor of a WVA leg, as the selector of the Prometheus asks for, for example `{release: kube-prometheus-stack}`.',
  ),
  field('accelerator', 's', text('auto|key:value'), 'Label `key:value` of the GPU nodes; `auto` finds a known one.', {
    default: 'auto',
  }),
  field('tolerations', 'sr', text('yaml'), 'YAML list of tolerations for every pod.'),
  field('node-selector', 'sr', text('yaml'), 'YAML map of node labels for every pod.'),
  field('priority-class', 'sr', text('name'), 'PriorityClass of every pod.'),
  field('queue-name', 'sr', text('name'), 'Kueue LocalQueue of every pod.'),
  field(
    'image-pull-secret',
    'sr',
    text('name'),
    'Secret, already in the namespace, with which every pod pulls its images.',
  ),
  field(
    'image-registry',
    'sr',
    text('host[/path]'),
    'Registry prefix for the default images, for example a mirror; an image that is named stands as it is.',
  ),
  field('vllm-image', 's', text('image'), `Model server. ${unverified}`, {
    default: 'ghcr.io/llm-d/llm-d-cuda:v0.4.0',
  }),
  field('scheduler-image', 's', text('image'), `Endpoint picker. ${unverified}`, {
    default: 'ghcr.io/llm-d/llm-d-inference-scheduler:v0.4.0',
  }),
  field('sidecar-image', 's', text('image'), `Routing sidecar of the model server. ${unverified}`, {
    default: 'ghcr.io/llm-d/llm-d-routing-sidecar:v0.4.0',
  }),
  field('harness-image', 'sr', text('image'), `Load generator, download and smoke test. ${unverified}`, {
    default: 'ghcr.io/llm-d/llm-d-benchmark:v0.4.0',
  }),
  field(
    'storage-class',
    's',
    text('name'),
    'StorageClass of the model volume; empty means the default of the cluster.',
  ),
  field(
    'access-mode',
    's',
    oneOf('ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod'),
    'Access mode of the model volume.',
    { default: 'ReadWriteMany' },
  ),
  field('model-cache-size', 's', text('quantity'), 'Size of the model volume.', { default: '1Ti' }),
  field(
    'model-source',
    's',
    text('pvc|pvc://claim/path|hf'),
    '`pvc`: download once to a volume. `pvc://claim/path`: weights that are already there. `hf`: every pod downloads.',
    { default: 'pvc' },
  ),
  field(
    'platform',
    's',
    oneOf('ensure', 'require'),
    'Both only detect in this version: a missing part fails with the command that installs it.',
    { default: 'ensure' },
  ),
  field(
    'overrides',
    'sr',
    text('yaml'),
    'YAML map laid over the settings of the well-lit path; run uses only `harness` (cpu, memory) of it.',
  ),
  field(
    'lifetime',
    's',
    oneOf('job', 'ttl'),
    '`job`: the end of the job removes what no teardown step did. `ttl`: the stack outlives the job until teardown or expiry (the default on the command line).',
    { default: 'job' },
  ),
  field(
    'ttl',
    's',
    text('duration'),
    'When the stack expires: from then on the next standup in the namespace removes it first.',
    { default: '6h' },
  ),
  field(
    'lock',
    'st',
    oneOf('wait', 'fail', 'force'),
    'When another run holds the namespace: `wait` in line, or `fail` at once. In teardown both fail; only there `force` removes what another run holds.',
    { default: 'wait' },
  ),
  field(
    'lock-timeout',
    's',
    text('duration'),
    'How long to wait for it; empty: until the planned end of the holder and 30 minutes more.',
  ),
  field(
    'timeouts',
    's',
    text('yaml'),
    'YAML map of durations: download (40m), ready (15m), gates (5m each, also for every link of the autoscaling chain), schedule (2m: how long a pod may find no node).',
  ),
  field(
    'settle',
    'r',
    text('reset|duration'),
    'How a repeat of a WVA leg comes to its start state, 1 replica at rest: `reset` fast-forwards to it, a duration waits for it, `0s` starts as it is.',
    { default: 'reset' },
  ),
  field(
    'settle-window',
    'sr',
    text('duration'),
    'Query window of the WVA controller: for so long it still sees replicas that are gone.',
    { default: '60s' },
  ),
  field('harness', 'r', oneOf('guidellm'), 'Load generator.', { default: 'guidellm' }),
  field(
    'workload',
    'srt',
    text('profile|file'),
    'Built-in profile, or a YAML file of the repository. In standup and teardown it only names the comparison.',
    { default: 'chatbot_synthetic' },
  ),
  field(
    'workload-overrides',
    'r',
    text('yaml'),
    'YAML map of dotted path to value, laid over the profile, for example `{rate: [1, 2], data.output_tokens: 256}`.',
  ),
  field('repeats', 'r', text('1..100'), 'How often the whole workload runs, each time with its own seed.', {
    default: '4',
  }),
  field('parallelism', 'r', text('1..64'), 'Harness pods at once.', { default: '1' }),
  field('seed', 'r', text('0..1000000'), 'Repeat k uses seed + k.', { default: '42' }),
  field(
    'endpoint',
    'r',
    text('auto|url|service/name[:port]'),
    '`auto`: the gateway of the stack. A URL or `service/NAME[:PORT]` skips detection.',
    { default: 'auto' },
  ),
  field(
    'wait-timeout',
    'r',
    text('duration'),
    'How long one repeat may take; empty: from rates x seconds, start-up and drain.',
  ),
  field('slo-ttft', 'r', text('duration'), 'Target for the time to first token.', { default: '1000ms' }),
  field('slo-tpot', 'r', text('duration'), 'Target for the time per output token.', { default: '10ms' }),
  field('slo-attainment', 'r', text('percent'), 'Share of requests that must meet both targets.', { default: '95%' }),
  field('comment', 'srt', oneOf('auto', 'never'), '`auto`: comment when the event has a pull request.', {
    default: 'auto',
  }),
  field('deep', 't', boolean, 'Delete the model volume and the token as well, if they are ours.', { default: 'false' }),
  field(
    'purge',
    't',
    boolean,
    'Delete everything of 17 kinds in the namespace, whoever made it, volumes and secrets included.',
    { default: 'false' },
  ),
  field(
    'keep-on-failure',
    'sr',
    oneOf('none', 'evidence', 'all'),
    'What the post step of standup does after a failure instead of removing the stack: `evidence` scales it to 0, `all` leaves it, both until it expires. A teardown step removes it all the same.',
    { default: 'none' },
  ),
  field('out', 'srt', text('folder'), 'Folder for everything that the mode writes; empty: one under RUNNER_TEMP.'),
  field('dry-run', 'srt', boolean, 'Write the plan, with secrets redacted, and change nothing.', { default: 'false' }),
  field('github-token', 'srt', secret, 'For the comment and the artifacts; needs `pull-requests: write`.', {
    default: '${{ github.token }}',
  }),
  field('matrix', 'srt', text('json'), 'Identity of the leg; fills itself.', {
    default: '${{ toJSON(matrix) }}',
    hidden: true,
  }),
  field('strategy', 'srt', text('json'), 'Size of the matrix; fills itself.', {
    default: '${{ toJSON(strategy) }}',
    hidden: true,
  }),
]

export const fieldByName: ReadonlyMap<string, Field> = new Map(fields.map(f => [f.name, f]))

export interface Output {
  readonly name: string
  /** Which modes may set it. */
  readonly modes: readonly Mode[]
  readonly help: string
}
const output = (name: string, letters: string, help: string): Output => ({
  name,
  modes: modes.filter(m => letters.includes(m.charAt(0))),
  help,
})

export const outputs: readonly Output[] = [
  output('stack', 'st', 'Name of the stack, `<release>-<model label>`.'),
  output('namespace', 'srt', 'Namespace of the stack.'),
  output('endpoint', 'sr', 'Address at which the stack answers inside the cluster.'),
  output('plan-path', 'sr', 'plan.yaml: every object in apply order, secrets redacted.'),
  output('results-path', 'r', 'Folder with the results: per repeat guidellm files, logs and analysis.'),
  output('artifact-name', 'srt', 'Name of the artifact with leg.json.'),
  output('artifact-url', 'srt', 'Address of that artifact.'),
  output('comment-url', 'srt', 'Address of the pull request comment.'),
  output('leg', 'srt', 'JSON: key, leg, stage, attempt and status of what was published.'),
  output(
    'failure-code',
    'srt',
    'Why the step failed, one word such as INPUT, PREFLIGHT, GPU_SHORTAGE or HARNESS; empty after success.',
  ),
  output('leftovers', 't', 'How many objects of the stack are left over.'),
]
