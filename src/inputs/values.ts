import { parse as parseYaml } from 'yaml'
import type { ModelSource } from '../stack/spec.ts'

/** A value, or what is wrong with the text: why, and what to write instead. */
export type Parsed<T> = { readonly value: T } | { readonly why: string; readonly write: string }
const bad = (why: string, write: string) => ({ why, write })

const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** `500ms`, `90s`, `30m`, `2h`, or a sum like `1h30m`; milliseconds. */
export function duration(text: string): Parsed<number> {
  if (text === '0') return { value: 0 }
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)]
  if (parts.length === 0 || parts.map(p => p[0]).join('') !== text)
    return bad('It is not a duration.', 'a duration such as 500ms, 90s, 30m or 2h')
  const ms = parts.reduce((sum, [, n, unit]) => sum + Number(n) * units[unit!]!, 0)
  return ms <= 30 * 24 * 3_600_000 ? { value: ms } : bad('It is longer than 30 days.', 'a duration of at most 720h')
}

export function integer(text: string, min: number, max: number): Parsed<number> {
  const value = Number(text)
  return /^-?\d+$/.test(text) && value >= min && value <= max
    ? { value }
    : bad(`It is not a whole number from ${min} to ${max}.`, `a whole number from ${min} to ${max}`)
}

/** `95%` or `0.95`; a fraction. */
export function percent(text: string): Parsed<number> {
  const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(text)
  const value = match ? Number(match[1]) / (match[2] === '%' ? 100 : 1) : Number.NaN
  return value > 0 && value <= 1 ? { value } : bad('It is not a share between 0 and 100 %.', 'a percentage such as 95%')
}

export function boolean(text: string): Parsed<boolean> {
  if (text === 'true' || text === 'false') return { value: text === 'true' }
  return bad('It is neither true nor false.', 'true or false')
}

const dnsLabel = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const dnsName = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/

/** One DNS label, for names that become part of other names. */
export function dnsLabelOf(text: string, maxLength: number): Parsed<string> {
  return dnsLabel.test(text) && text.length <= maxLength
    ? { value: text }
    : bad(
        `It is not a name of at most ${maxLength} characters without dots.`,
        'lower-case letters, digits and dashes, e.g. llmdbench',
      )
}

export function label(text: string, maxLength: number): Parsed<string> {
  return dnsName.test(text) && text.length <= maxLength
    ? { value: text }
    : bad(
        `It is not a Kubernetes name of at most ${maxLength} characters.`,
        'lower-case letters, digits and dashes, e.g. llm-d-bench',
      )
}

/** `model` or `model,harness`; one value, or an empty second, means both. */
export function namespace(text: string): Parsed<{ model: string; harness: string }> {
  const [model = '', harness = '', ...rest] = text.split(',').map(p => p.trim())
  const second = harness === '' ? model : harness
  for (const name of [model, second]) {
    if (!dnsLabel.test(name) || name.length > 63 || rest.length > 0) {
      return bad(
        'It is not one or two namespace names.',
        '`model` or `model,harness`, each of lower-case letters, digits and dashes, at most 63 characters',
      )
    }
  }
  // Nobody means to stand a benchmark up, or purge, where the cluster itself lives.
  const system = [model, second].find(n => /^(kube-|openshift-|istio-system$)/.test(n))
  if (system !== undefined)
    return bad(`${system} belongs to the cluster itself.`, 'a namespace of your own, e.g. llm-d-bench')
  return { value: { model, harness: second } }
}

export function modelId(text: string): Parsed<string> {
  return /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/.test(text) && text.length <= 200
    ? { value: text }
    : bad(
        'It is not a model id of the form organisation/name.',
        'the id as the model hub shows it, e.g. meta-llama/Llama-3.1-8B',
      )
}

/** A Kubernetes resource quantity that is greater than 0. */
export function quantity(text: string): Parsed<string> {
  return /^(?!0+(\.0+)?\D*$)\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi)?$/.test(text)
    ? { value: text }
    : bad('It is not a size.', 'a Kubernetes quantity such as 300Gi or 1Ti')
}

export function image(text: string): Parsed<string> {
  return /^[a-z0-9]+([._:-][A-Za-z0-9]+|\/[a-z0-9]+|[-_.]{1,2}[a-z0-9]+)*(@sha256:[0-9a-f]{64})?$/i.test(text) &&
    text.length <= 300
    ? { value: text }
    : bad('It is not an image reference.', 'registry/repository:tag or registry/repository@sha256:DIGEST')
}

/** An image that says which version: `latest` of one day is another program than that of the next. */
export function pinnedImage(text: string): Parsed<string> {
  const parsed = image(text)
  if (!('value' in parsed)) return parsed
  const last = text.split('/').at(-1) ?? ''
  return /[:@]/.test(last)
    ? parsed
    : bad('It has neither a tag nor a digest.', 'registry/repository:tag or registry/repository@sha256:DIGEST')
}

/** A duration that must not be 0. */
export function positiveDuration(text: string): Parsed<number> {
  const parsed = duration(text)
  if (!('value' in parsed) || parsed.value > 0) return parsed
  return bad('It is 0.', 'a duration such as 500ms, 90s, 30m or 2h')
}

export function url(text: string): Parsed<string> {
  try {
    const parsed = new URL(text)
    if (
      (parsed.protocol === 'http:' || parsed.protocol === 'https:') &&
      parsed.username === '' &&
      parsed.password === ''
    )
      return { value: text.replace(/\/+$/, '') }
  } catch {
    // Falls through to the one answer.
  }
  return bad('It is not an http(s) address without credentials.', 'an address such as https://hub.example.org')
}

export function accelerator(text: string): Parsed<'auto' | { key: string; value: string }> {
  if (text === 'auto') return { value: 'auto' }
  const at = text.lastIndexOf(':')
  const [key, value] = [text.slice(0, at), text.slice(at + 1)]
  const ok =
    at > 0 &&
    /^([a-z0-9.-]+\/)?[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?$/.test(key) &&
    /^[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?$/.test(value)
  return ok
    ? { value: { key, value } }
    : bad('It is not a node label.', 'auto, or label-key:value such as nvidia.com/gpu.product:NVIDIA-H100-80GB-HBM3')
}

export function modelSource(text: string): Parsed<ModelSource> {
  if (text === 'pvc' || text === 'hf') return { value: { kind: text } }
  const match = /^pvc:\/\/([a-z0-9][a-z0-9.-]*)\/(.+)$/.exec(text)
  if (match && !match[2]!.split('/').includes('..') && /^[\w./@+-]+$/.test(match[2]!))
    return { value: { kind: 'claim', claim: match[1]!, path: match[2]! } }
  return bad('It names no source of weights.', 'pvc, hf, or pvc://CLAIM/PATH')
}

export type EndpointInput =
  | { readonly kind: 'auto' }
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'service'; readonly name: string; readonly port?: number }

export function endpoint(text: string): Parsed<EndpointInput> {
  if (text === 'auto') return { value: { kind: 'auto' } }
  const service = /^service\/([a-z0-9]([-a-z0-9]*[a-z0-9])?)(?::(\d{1,5}))?$/.exec(text)
  if (service) {
    const port = service[3] === undefined ? undefined : Number(service[3])
    if (port === undefined) return { value: { kind: 'service', name: service[1]! } }
    if (port >= 1 && port <= 65_535) return { value: { kind: 'service', name: service[1]!, port } }
  }
  if (/^https?:\/\/(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?\/?$/.test(text))
    return { value: { kind: 'url', url: text.replace(/\/$/, '') } }
  return bad('It is no endpoint.', 'auto, http://host:port without a path, or service/NAME[:PORT]')
}

/** How a repeat comes to its start state. */
export type SettleInput = { readonly kind: 'reset' } | { readonly kind: 'wait'; readonly ms: number }

/** `reset`, or how long to wait; `0s` starts as it is. */
export function settle(text: string): Parsed<SettleInput> {
  if (text === 'reset') return { value: { kind: 'reset' } }
  const parsed = duration(text)
  return 'value' in parsed
    ? { value: { kind: 'wait', ms: parsed.value } }
    : bad('It is neither reset nor a duration.', 'reset, or a duration such as 10m; 0s starts as it is')
}

/** YAML 1.2 text to a value; aliases are limited, so that a small text cannot become a large value. */
export function yaml(text: string): Parsed<unknown> {
  try {
    return { value: parseYaml(text, { maxAliasCount: 20 }) as unknown }
  } catch (error) {
    const [line = 'syntax error'] = (error as Error).message.split('\n')
    return bad(
      `It is not YAML: ${line.slice(0, 200)}`,
      'YAML; quote values that contain `: ` or start with a special character',
    )
  }
}

export function yamlMap(text: string): Parsed<Record<string, unknown>> {
  const parsed = yaml(text)
  if (!('value' in parsed)) return parsed
  if (typeof parsed.value === 'object' && parsed.value !== null && !Array.isArray(parsed.value))
    return { value: parsed.value as Record<string, unknown> }
  return bad('It is not a YAML map.', 'lines of `key: value`')
}

export function yamlList(text: string): Parsed<unknown[]> {
  const parsed = yaml(text)
  if (!('value' in parsed)) return parsed
  return Array.isArray(parsed.value)
    ? { value: parsed.value }
    : bad('It is not a YAML list.', 'lines that start with `- `')
}
