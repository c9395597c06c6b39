import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from '@jest/globals'

const src = path.join(import.meta.dirname, '..', 'src')
const files = readdirSync(src, { recursive: true, withFileTypes: true })
  .filter(e => e.isFile() && e.name.endsWith('.ts'))
  .map(e => path.relative(src, path.join(e.parentPath, e.name)))

/** Which rooms a room may import, besides itself. errors.ts, log.ts and nearest.ts are free for all. */
const allowed: Record<string, readonly string[]> = {
  paths: ['stack'],
  stack: [],
  platform: ['stack'],
  harness: ['stack', 'results'],
  timeline: ['results', 'stack'],
  results: [],
  report: ['results', 'timeline'],
  cluster: ['stack', 'platform'],
  hub: [],
  github: ['results'],
  modes: ['paths', 'stack', 'platform', 'harness', 'timeline', 'results', 'cluster', 'github', 'hub', 'inputs', 'door'],
  inputs: ['stack', 'paths', 'harness'],
  door: ['modes', 'github', 'report', 'results', 'inputs', 'cluster'],
}
const pure = ['paths', 'stack', 'platform', 'harness', 'timeline', 'results', 'report']
const purePackages = [
  'yaml',
  '@sinclair/typebox',
  '@sinclair/typebox/value',
  '@sinclair/typebox/compiler',
  '@streamparser/json',
  'node:path',
  'node:crypto',
]
/** A package that only one room may know. */
const owners: [RegExp, string[], string][] = [
  [/^@kubernetes\/client-node$|^ws$|^tar-stream$/, ['cluster'], 'cluster'],
  [/^@actions\/core$/, ['door'], 'the door'],
  [/^@actions\/(github|artifact)$/, ['github'], 'github'],
  [/^@actions\/http-client$/, ['hub', 'github'], 'hub'],
]

function room(file: string): string {
  const [first = ''] = file.split(path.sep)
  if (!first.endsWith('.ts')) return first
  return first === 'inputs.ts' ? 'inputs' : 'door'
}
const free = ['errors.ts', 'log.ts', 'nearest.ts', 'version.ts']
/** The one thing modes take from the door: the type of the inputs. */
const imports = (file: string): { specifier: string; typeOnly: boolean }[] =>
  [
    ...readFileSync(path.join(src, file), 'utf8').matchAll(
      /(?:^|\n)\s*(import|export)\s+(type\s)?[^'";]*?from\s+'([^']+)'|import\(\s*'([^']+)'\s*\)|(?:^|\n)import\s+'([^']+)'/g,
    ),
  ].map(m => ({
    specifier: m[3] ?? m[4] ?? m[5] ?? '',
    typeOnly: m[2] !== undefined,
  }))

test.each(files)('%s imports only what its room may', file => {
  const here = room(file)
  for (const { specifier } of imports(file)) {
    if (specifier.startsWith('.')) {
      const target = path.relative(src, path.join(src, path.dirname(file), specifier))
      if (free.includes(target)) continue
      const there = room(target)
      if (there !== here)
        expect({ file, imports: target, allowed: allowed[here] }).toEqual({
          file,
          imports: target,
          allowed: expect.arrayContaining([there]),
        })
      expect(files).toContain(target)
      continue
    }
    if (pure.includes(here))
      expect({ file, specifier, pure: purePackages.includes(specifier) }).toEqual({ file, specifier, pure: true })
    for (const [pattern, rooms, name] of owners) {
      if (pattern.test(specifier))
        expect({ file, specifier, owner: rooms.includes(here) ? here : name }).toEqual({ file, specifier, owner: here })
    }
  }
})

test('no room is called utils and no file is a barrel', () => {
  expect(files.filter(f => /utils|helpers?|common|misc/.test(f))).toEqual([])
  const barrels = files.filter(
    f => path.basename(f) === 'index.ts' && f !== 'index.ts' && room(f) !== 'paths' && room(f) !== 'harness',
  )
  expect(barrels).toEqual([])
})
