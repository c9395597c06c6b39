import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { parse, parseAllDocuments } from 'yaml'
import { plannedSeconds, renderProfile } from '../../../src/harness/profiles.ts'
import { parseInputs } from '../../../src/inputs.ts'
import { settingsOf } from '../../../src/paths/build.ts'
import { wellLitPaths } from '../../../src/paths/index.ts'
import { requirements } from '../../../src/platform/requirements.ts'
import { adapterObjects } from '../../sandbox/wva/monitoring-objects.ts'

const read = (file: string): string => readFileSync(file, 'utf8')
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync('docs')
    .filter(f => f.endsWith('.md'))
    .map(f => `docs/${f}`),
]
/** What stands in the fenced YAML blocks of a page, parsed. */
const blocks = (file: string): unknown[] =>
  [...read(file).matchAll(/```yaml\n([\s\S]*?)```/g)].flatMap(m => parseAllDocuments(m[1]!).map(d => d.toJS()))

/** Every `with:` of a step that uses this action, wherever it stands in a value. */
function steps(value: unknown): Record<string, unknown>[] {
  if (typeof value !== 'object' || value === null) return []
  const { uses, with: inputs } = value as { uses?: unknown; with?: Record<string, unknown> }
  const own = typeof uses === 'string' && /bench-action@|^\.\//.test(uses) && inputs !== undefined ? [inputs] : []
  return [...own, ...Object.values(value).flatMap(steps)]
}
const written = [
  ...pages.flatMap(page =>
    blocks(page)
      .flatMap(steps)
      .map((inputs, i) => [page, i + 1, inputs] as const),
  ),
  ...readdirSync('.github/workflows').flatMap(f =>
    steps(parse(read(`.github/workflows/${f}`))).map((inputs, i) => [f, i + 1, inputs] as const),
  ),
]
const kubeconfig =
  'apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: "https://10.0.0.1"}}]\nusers: [{name: u, user: {token: abcdefgh}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n'
/** Expressions of a workflow have values only on a runner. */
const sample = (name: string, value: unknown): string => {
  if (!String(value).includes('${{')) return String(value)
  return { kubeconfig, wva: 'false', 'dry-run': 'false' }[name] ?? 'sample'
}

test.each(written)('%s, step %i: its inputs exist and have valid values', (_page, _i, inputs) => {
  const raw = Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, sample(name, value)]))
  // Snippets that show one input leave out what every step needs.
  const parsed = parseInputs({ kubeconfig, namespace: 'llm-d-bench', ...raw }, { door: 'action' })
  expect('problems' in parsed ? parsed.problems : []).toEqual([])
})

test('the pages have steps to check', () => {
  const found = [...new Set(written.map(([page]) => page))]
  expect(found).toEqual(
    expect.arrayContaining(['README.md', 'docs/overrides.md', 'docs/workloads.md', 'example-baseline.yml']),
  )
})

test('the settings that docs/overrides.md shows are those of the path, and its probe can be restored', () => {
  const [shown] = blocks('docs/overrides.md').filter(
    (b): b is object => typeof b === 'object' && b !== null && 'maxModelLen' in b,
  )
  expect(shown).toEqual(wellLitPaths['inference-scheduling'])
  const [restored] = blocks('docs/overrides.md').filter(
    (b): b is { overrides: string } => typeof b === 'object' && b !== null && 'overrides' in b,
  )
  const settings = settingsOf({ wellLitPath: 'inference-scheduling', overrides: parse(restored!.overrides) })
  expect(settings.startupProbe).toEqual({ initialDelaySeconds: 30, periodSeconds: 30, failureThreshold: 60 })
})

describe('docs/workloads.md', () => {
  const variables = { target: 'http://gateway:80', model: 'org/model' }
  const own = /```yaml\n# bench\/short_answers\.yaml\n([\s\S]*?)```/.exec(read('docs/workloads.md'))![1]!

  test('its profile of your own renders', () => {
    const { profile } = renderProfile(own, { ...variables, name: 'short_answers' }, {}, { seed: 1 })
    expect(profile).toMatchObject({ profile: 'short_answers', rates: [2, 8] })
    expect(plannedSeconds(profile)).toBe(360)
  })

  test('its overrides fit the built-in profile', () => {
    const [inputs] = blocks('docs/workloads.md')
      .flatMap(steps)
      .filter(s => s['workload-overrides'] !== undefined)
    const overrides = parse(String(inputs!['workload-overrides'])) as Record<string, unknown>
    const { yaml } = renderProfile('chatbot_synthetic', variables, overrides, { seed: 1 })
    expect(parse(yaml)).toMatchObject({
      rate: [1, 2, 4],
      max_seconds: 300,
      data: { prompt_tokens: 1024, output_tokens: 256 },
    })
  })
})

test.each(pages)('every relative link of %s leads to a file', page => {
  const links = [...read(page).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map(m => path.join(path.dirname(page), m[1]!))
  expect(links.filter(file => !existsSync(file))).toEqual([])
})
test.each(pages)('every file of the repository that %s names in code exists', page => {
  const names = [...read(page).matchAll(/`((?:src|docs|test|scripts|bench)\/[A-Za-z0-9_./-]+\.[a-z]+)`/g)].map(
    m => m[1]!,
  )
  expect(names.filter(file => file !== 'bench/short_answers.yaml' && !existsSync(file))).toEqual([])
})

describe('docs/platform.md', () => {
  const page = read('docs/platform.md')

  test('has every command that standup prints, and no other version of it', () => {
    const commands = page.replaceAll(/ \\\n +/g, ' ')
    for (const line of requirements.flatMap(r => r.install)) expect(commands).toContain(`\n${line}\n`)
  })

  test('the values for prometheus-adapter hold the rule that the sandbox works with', () => {
    const values = blocks('docs/platform.md').find(
      (b): b is { rules: { external: unknown } } => typeof b === 'object' && b !== null && 'rules' in b,
    )
    const config = adapterObjects({ rule: 'max', relist: '1s' }).find(
      o => o.kind === 'ConfigMap' && o.metadata.name === 'prometheus-adapter',
    )
    const { 'config.yaml': text } = config!.data as { 'config.yaml': string }
    expect({ externalRules: values?.rules.external }).toEqual(parse(text))
  })
})

/** The sentences of the code that a page quotes: what is in code font and has three words, but for commands and YAML. */
const quotedSentences = ['docs/troubleshooting.md', 'docs/platform.md'].flatMap(page =>
  [
    ...read(page)
      .replaceAll(/```[\s\S]*?```/g, '')
      .matchAll(/`([^`\n]+)`/g),
  ]
    .map(m => m[1]!)
    .filter(text => text.split(' ').length > 2 && !/^(kubectl|max by)|: ['{]/.test(text))
    .map(text => [page, text] as const),
)
const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter(f => f.endsWith('.ts'))
  .map(f => read(`src/${f}`))
  .join('\n')

test('the pages quote enough sentences to check', () => {
  for (const page of ['docs/troubleshooting.md', 'docs/platform.md'])
    expect(quotedSentences.filter(([of]) => of === page).length).toBeGreaterThan(7)
})

test.each(quotedSentences)('%s quotes a sentence of the code: %s', (_page, sentence) => {
  // Three dots stand for a value of a template.
  const parts = sentence.split('…').map(part => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  expect(new RegExp(parts.join('\\$\\{[^\\n]*?\\}')).test(sources)).toBe(true)
})
