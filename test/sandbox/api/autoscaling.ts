/** Defaults and validation of a HorizontalPodAutoscaler (kubernetes/pkg/apis/autoscaling, 1.35). */

import { type Dict, dict, dicts } from './dict.ts'

/** One refusal: what is wrong with which field. */
export type Problem = [field: string, message: string, reason?: string]

const pods = { type: 'Pods', value: 4, periodSeconds: 15 }
const percent = { type: 'Percent', value: 100, periodSeconds: 15 }

/** In place. The window for scaling down is left to the controller, and rules are filled in only where `behavior` is. */
export function defaultAutoscaler(spec: Dict): void {
  spec.minReplicas ??= 1
  if (dicts(spec.metrics).length === 0)
    spec.metrics = [
      { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } } },
    ]
  if (spec.behavior === undefined || spec.behavior === null) return
  const { scaleUp, scaleDown } = dict(spec.behavior)
  const given = (rules: unknown) => Object.fromEntries(Object.entries(dict(rules)).filter(([, v]) => v !== null))
  spec.behavior = {
    scaleUp: { stabilizationWindowSeconds: 0, selectPolicy: 'Max', policies: [pods, percent], ...given(scaleUp) },
    scaleDown: { selectPolicy: 'Max', policies: [percent], ...given(scaleDown) },
  }
}

const invalid = (field: string, value: unknown, rule: string): Problem => [
  field,
  `Invalid value: ${JSON.stringify(value)}: ${rule}`,
]
const required = (field: string, rule: string): Problem => [
  field,
  `Required value${rule === '' ? '' : `: ${rule}`}`,
  'FieldValueRequired',
]
const unsupported = (field: string, value: unknown, known: readonly string[]): Problem => [
  field,
  `Unsupported value: ${JSON.stringify(value)}: supported values: ${known.map(k => `"${k}"`).join(', ')}`,
  'FieldValueNotSupported',
]

/** Everything a real server would refuse in the parts that the sandbox's controller reads. */
export function autoscalerProblems(spec: Dict): Problem[] {
  const found: Problem[] = []
  const [min, max] = [Number(spec.minReplicas), Number(spec.maxReplicas ?? 0)]
  if (min < 1) found.push(invalid('spec.minReplicas', min, 'must be greater than or equal to 1'))
  if (max < 1) found.push(invalid('spec.maxReplicas', max, 'must be greater than 0'))
  if (max < min) found.push(invalid('spec.maxReplicas', max, 'must be greater than or equal to `minReplicas`'))
  for (const field of ['kind', 'name'])
    if (!dict(spec.scaleTargetRef)[field]) found.push(required(`spec.scaleTargetRef.${field}`, ''))
  for (const [i, metric] of dicts(spec.metrics).entries()) found.push(...metricProblems(metric, `spec.metrics[${i}]`))
  for (const [direction, rules] of Object.entries(dict(spec.behavior)))
    found.push(...rulesProblems(dict(rules), `spec.behavior.${direction}`))
  return found
}

const sources = ['ContainerResource', 'External', 'Object', 'Pods', 'Resource']

function metricProblems(metric: Dict, at: string): Problem[] {
  if (!sources.includes(String(metric.type))) return [unsupported(`${at}.type`, metric.type ?? '', sources)]
  if (metric.type !== 'External') return []
  const missing = 'must populate information for the given metric source'
  if (metric.external === undefined) return [required(`${at}.external`, missing)]
  const { metric: identifier, target } = dict(metric.external)
  const { value, averageValue } = dict(target)
  const found: Problem[] = []
  if (!dict(identifier).name) found.push(required(`${at}.external.metric.name`, 'must specify a metric name'))
  if (value === undefined && averageValue === undefined) {
    const rule = 'must set either a target value for metric or a per-pod target'
    found.push(required(`${at}.external.target.averageValue`, rule))
  }
  if (value !== undefined && averageValue !== undefined) {
    const rule = 'Forbidden: may not set both a target value for metric and a per-pod target'
    found.push([`${at}.external.target.value`, rule, 'FieldValueForbidden'])
  }
  for (const [field, given] of Object.entries({ value, averageValue })) {
    if (given !== undefined && Number.parseFloat(String(given)) <= 0)
      found.push(invalid(`${at}.external.target.${field}`, given, 'must be positive'))
  }
  return found
}

function rulesProblems(rules: Dict, at: string): Problem[] {
  const found: Problem[] = []
  const window = rules.stabilizationWindowSeconds
  const field = `${at}.stabilizationWindowSeconds`
  if (Number(window ?? 0) < 0) found.push(invalid(field, window, 'must be greater than or equal to zero'))
  if (Number(window ?? 0) > 3600) found.push(invalid(field, window, 'must be less than or equal to 3600'))
  const selects = ['Disabled', 'Max', 'Min']
  if (!selects.includes(String(rules.selectPolicy)))
    found.push(unsupported(`${at}.selectPolicy`, rules.selectPolicy, selects))
  const policies = dicts(rules.policies)
  if (policies.length === 0) found.push(required(`${at}.policies`, 'must specify at least one Policy'))
  for (const [i, { type, value, periodSeconds }] of policies.entries()) {
    const here = `${at}.policies[${i}]`
    if (type !== 'Pods' && type !== 'Percent') found.push(unsupported(`${here}.type`, type, ['Percent', 'Pods']))
    for (const [name, given] of Object.entries({ value, periodSeconds }))
      if (!(Number(given) > 0)) found.push(invalid(`${here}.${name}`, given, 'must be greater than zero'))
    if (Number(periodSeconds) > 1800)
      found.push(invalid(`${here}.periodSeconds`, periodSeconds, 'must be less than or equal to 1800'))
  }
  return found
}
