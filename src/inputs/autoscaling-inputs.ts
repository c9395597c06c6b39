import { Value } from '@sinclair/typebox/value'
import { chartBehavior, HpaBehavior } from '../stack/components/autoscaling.ts'
import { type Reader, shown } from './reader.ts'
import * as values from './values.ts'

/** Inputs of a leg under WVA. A matrix gives them to the other leg as well, where they shape nothing. */
export function readAutoscaling(r: Reader) {
  return {
    wva: r.read('wva', values.boolean, false),
    maxReplicas: r.read('max-replicas', t => values.integer(t, 1, 1000), 10),
    hpaBehavior: readBehavior(r),
    wvaNamespace: r.read('wva-namespace', t => values.dnsLabelOf(t, 63), ''),
    wvaVersion: readVersion(r),
    serviceMonitorLabels: readLabels(r),
    settleWindowMs: readWindow(r),
  }
}

/** Query window of the WVA controller. */
export const readWindow = (r: Reader): number => r.read('settle-window', values.positiveDuration, 60_000)

/** The chart's behaviour, with each direction that was given in its place. */
function readBehavior(r: Reader): HpaBehavior {
  const given = r.read('hpa-behavior', values.yamlMap, {})
  for (const error of Value.Errors(HpaBehavior, given)) {
    r.problem(
      'hpa-behavior',
      `\`hpa-behavior\` has ${shown(error.path.slice(1).replaceAll('/', '.') || 'no map')}: ${error.message}.`,
      'It is the field `behavior` of an autoscaling/v2 HorizontalPodAutoscaler.',
      'scaleUp and scaleDown, each with stabilizationWindowSeconds (0 to 3600), selectPolicy and policies (type, value, periodSeconds)',
    )
    return chartBehavior
  }
  return { ...chartBehavior, ...(given as HpaBehavior) }
}

/** Every generation of WVA has other objects, metrics and rules; this version drives one of them. */
function readVersion(r: Reader): string {
  const version = r.text('wva-version').replace(/^v/, '')
  if (!/^0\.4\.\d+$/.test(version)) {
    r.problem(
      'wva-version',
      `Input \`wva-version\` is ${shown(version)}.`,
      'This version of bench-action drives the WVA generation 0.4.x: others have other objects and metrics.',
      '0.4.2, or another 0.4 release',
    )
  }
  return version
}

// https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
const labelKey = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?$/
const labelValue = /^([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?$/

function readLabels(r: Reader): Record<string, string> {
  const given = r.read('service-monitor-labels', values.yamlMap, {})
  const labels = Object.entries(given).map(([key, value]) => [key, String(value)] as const)
  for (const [key, value] of labels) {
    if (labelKey.test(key) && labelValue.test(value) && typeof given[key] !== 'object') continue
    r.problem(
      'service-monitor-labels',
      `\`service-monitor-labels\` has ${shown(`${key}: ${value}`)}.`,
      'It is not a Kubernetes label.',
      'a map from label to text, for example release: kube-prometheus-stack',
    )
  }
  return Object.fromEntries(labels)
}
