import { createHash } from 'node:crypto'

/**
 * The label by which a model's pods and objects are called: first 8 characters of the model id (`/` and `.` as `-`),
 * 8 hex digits of SHA-256 over `<namespace>/<model id>`, last 8 characters; lower case. The same as llm-d-benchmark
 * computes, so that its tools find the stack. Where that would be no name that a Service may have (another character
 * than a letter, digit or `-`; a digit first; a `-` last), it is mended: 26 or 27 characters.
 */
export function modelLabel(namespace: string, model: string): string {
  const id = model.replaceAll('/', '-').replaceAll('.', '-')
  const hash = createHash('sha256').update(`${namespace}/${id}`).digest('hex').slice(0, 8)
  const label = `${id.slice(0, 8)}-${hash}-${id.slice(-8)}`.toLowerCase().replace(/[^a-z0-9-]/g, '-')
  return label.replace(/^(?![a-z])/, 'm').replace(/-$/, '0')
}

/** Value of the ownership label, and the name by which people are told of a stack. */
export const stackName = (release: string, label: string): string => `${release}-${label}`

export interface StackNames {
  readonly gateway: string
  readonly pool: string
  readonly scheduler: string
  readonly decode: string
  readonly route: string
  readonly serviceAccount: string
  readonly downloadJob: string
  readonly modelClaim: string
  readonly tokenSecret: string
  readonly preprocesses: string
  /** Service and ServiceMonitor through which the model servers are scraped. */
  readonly vllm: string
}

export const tokenSecretName = 'llm-d-hf-token'
export const tokenSecretKey = 'HF_TOKEN'

/** Every name of a stack, from its release and label. */
export function names(stack: { readonly release: string; readonly label: string }): StackNames {
  const { release, label } = stack
  return {
    gateway: `infra-${release}-inference-gateway`,
    pool: `${label}-gaie`,
    scheduler: `${label}-gaie-epp`,
    decode: `${label}-decode`,
    route: label,
    serviceAccount: label,
    downloadJob: 'download-model',
    modelClaim: 'model-pvc',
    tokenSecret: tokenSecretName,
    preprocesses: 'llm-d-benchmark-preprocesses',
    vllm: `${label}-vllm`,
  }
}
