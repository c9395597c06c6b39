import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { parse, parseAllDocuments } from 'yaml'
import { type KubeObject, stackLabel } from '../../../src/stack/kube.ts'
import { stackObjects } from '../../../src/stack/stack.ts'
import { only, specWith } from './specs.ts'

const file = path.join(import.meta.dirname, '..', '..', 'fixtures', 'charts', 'rendered.yaml')
const rendered = parseAllDocuments(readFileSync(file, 'utf8')).map(d => d.toJS() as KubeObject)

/**
 * Where an object is meant to differ from what a chart renders; `undefined` = the chart has no such field.
 * A path of object names and list indexes, and the value that ours has there instead.
 */
const deviations: Record<string, readonly { at: string; why: string; chart: unknown }[]> = {
  Gateway: [
    { at: 'spec.infrastructure.labels', why: 'our ownership on the pods that istiod makes', chart: undefined },
    { at: 'metadata.labels.stood-up-by', why: 'at creation, not later, which would roll the proxy', chart: undefined },
    { at: 'metadata.labels.stood-up-from', why: 'as above', chart: undefined },
    { at: 'metadata.labels.stood-up-via', why: 'as above', chart: undefined },
  ],
  'Deployment/meta-lla-1ebbf38c-a-3-1-8b-gaie-epp': [
    { at: 'spec.template.spec.terminationGracePeriodSeconds', why: 'a teardown would wait for it', chart: 130 },
    { at: 'spec.template.spec.containers.0.imagePullPolicy', why: 'the tag is pinned', chart: 'Always' },
  ],
  'Deployment/meta-lla-1ebbf38c-a-3-1-8b-decode': [
    { at: 'spec.progressDeadlineSeconds', why: 'a cold start takes longer than the default 600 s', chart: undefined },
    { at: 'spec.template.spec.initContainers.1', why: 'the download runs while pods are scheduled', chart: 'removed' },
    { at: 'spec.template.spec.initContainers.0.imagePullPolicy', why: 'the tag is pinned', chart: 'Always' },
    { at: 'spec.template.spec.containers.0.imagePullPolicy', why: 'the tag is pinned', chart: undefined },
    {
      at: 'spec.template.spec.containers.0.args.0',
      why: 'exec, and no bash (B31 has the words)',
      chart: 'THE COMMAND LINE',
    },
    { at: 'spec.template.spec.containers.0.startupProbe.initialDelaySeconds', why: 'faster starts', chart: 30 },
    { at: 'spec.template.spec.containers.0.startupProbe.periodSeconds', why: 'faster starts', chart: 30 },
    { at: 'spec.template.spec.containers.0.startupProbe.failureThreshold', why: 'the same ceiling', chart: 60 },
    {
      at: 'spec.template.spec.volumes.0.configMap.defaultMode',
      why: 'readable for a user that is not root',
      chart: 0o500,
    },
  ],
}

type Node = Record<string, unknown>

/** Sets one place of a copy to what the chart has there, and returns what was there. */
function put(object: Node, at: string, value: unknown): unknown {
  const steps = at.split('.')
  // Label keys have no dots in the paths above, so a plain split is enough.
  const last = steps.pop()!
  const holder = steps.reduce<Node>((node, step) => node[step] as Node, object)
  const before = holder[last]
  if (value === 'removed') (holder as unknown as unknown[]).splice(Number(last), 1)
  else if (value === undefined) delete holder[last]
  else holder[last] = value
  return before
}

/** Ours without what every object of ours has, with embedded YAML read, so that only meaning is compared. */
function comparable(object: KubeObject): Node {
  const copy = structuredClone(object) as unknown as {
    metadata: { labels?: Node }
    data?: Node
    spec?: { template?: { metadata: { labels: Node } } }
  }
  delete copy.metadata.labels?.[stackLabel]
  if (Object.keys(copy.metadata.labels ?? {}).length === 0) delete copy.metadata.labels
  delete copy.spec?.template?.metadata.labels[stackLabel]
  if (object.kind === 'ConfigMap')
    copy.data = Object.fromEntries(Object.entries(copy.data ?? {}).map(([k, v]) => [k, parse(String(v))]))
  return copy as unknown as Node
}

const objects = stackObjects(specWith())

test.each(rendered.map(o => [`${o.kind}/${o.metadata.name}`, o] as const))(
  'B28: %s is what its chart renders, but for the differences that are listed',
  (name, chart) => {
    const ours = comparable(only(objects, chart.kind, chart.metadata.name))
    for (const { at, chart: theirs } of deviations[name] ?? deviations[chart.kind] ?? []) {
      expect({ at, differs: put(ours, at, theirs) !== theirs }).toEqual({ at, differs: true })
    }
    expect(ours).toEqual(chart)
  },
)

test('B28: the three charts render twelve of the objects, with the names that ours have', () => {
  expect(rendered).toHaveLength(12)
  const made = objects.map(o => `${o.kind}/${o.metadata.name}`)
  expect(made).toEqual(expect.arrayContaining(rendered.map(o => `${o.kind}/${o.metadata.name}`)))
})
