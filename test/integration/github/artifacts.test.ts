import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { type ArtifactStore, maxLegBytes, openArtifacts } from '../../../src/github/artifacts.ts'
import { githubContext } from '../../../src/github/event.ts'
import { type ArtifactStage, artifactName } from '../../../src/github/naming.ts'
import { type GithubDouble, startGithub } from '../../sandbox/github/server.ts'
import { zip } from '../../sandbox/github/zip.ts'
import { recordingLog } from './recording-log.ts'

let github: GithubDouble
let temp: string
let quiet: { mockRestore(): void }[]
const before = { ...process.env }

// The client reads the environment of its process, the address of the API when it is first imported, and writes what
// it does to standard output.
beforeAll(async () => {
  quiet = [jest.spyOn(process.stdout, 'write').mockReturnValue(true), jest.spyOn(console, 'error').mockReturnValue()]
  github = await startGithub({ pr: 7 })
  temp = await mkdtemp(path.join(tmpdir(), 'bench-artifacts-'))
  Object.assign(process.env, github.env, { RUNNER_TEMP: temp })
})

afterAll(async () => {
  for (const spy of quiet) spy.mockRestore()
  await github.close()
  await rm(temp, { recursive: true, force: true })
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name]
  Object.assign(process.env, before)
})

async function store(attempt = 1, signal = AbortSignal.timeout(30_000), log = recordingLog()): Promise<ArtifactStore> {
  const env = { ...github.envOf(attempt), RUNNER_TEMP: temp }
  Object.assign(process.env, env)
  const opened = await openArtifacts({ env, context: githubContext(env)!, reader: github.token, signal, log })
  if (opened === undefined) throw new Error('no store')
  return opened
}

async function folder(files: Record<string, string | Buffer>) {
  const rootDirectory = await mkdtemp(path.join(temp, 'files-'))
  const paths = Object.keys(files).map(f => path.join(rootDirectory, f))
  for (const [i, content] of Object.values(files).entries()) {
    await mkdir(path.dirname(paths[i]!), { recursive: true })
    await writeFile(paths[i]!, content)
  }
  return { rootDirectory, files: paths }
}

const idOf = (leg: string, stage: ArtifactStage = 'run', attempt = 1) => ({ key: 'k', leg, stage, attempt })
const found = async (s: ArtifactStore, name: string) => {
  const artifact = (await s.listArtifacts()).find(a => a.name === name)
  if (artifact === undefined) throw new Error(`${name} is not listed`)
  return artifact
}

test('what one leg uploads, another lists and downloads unchanged', async () => {
  const leg = { leg: 'equal', text: 'ä\n"quoted" \u2028', rows: Array.from({ length: 5000 }, (_, i) => i / 7) }
  const uploaded = await (await store()).uploadArtifact({
    id: idOf('equal'),
    ...(await folder({ 'leg.json': JSON.stringify(leg) })),
  })
  expect(uploaded).toMatchObject({ name: 'k.equal.run.a1', id: expect.any(Number) })
  const other = await store()
  const artifact = await found(other, 'k.equal.run.a1')
  expect(artifact).toMatchObject({
    id: uploaded.id,
    size: uploaded.size,
    digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
    earlierAttempt: false,
  })
  expect(await other.downloadLeg(artifact)).toEqual(leg)
  expect((await readdir(temp)).filter(f => f.startsWith('bench-leg-'))).toEqual([])
})

test('a folder of results arrives with every path and byte, also beyond one block', async () => {
  const big = Buffer.alloc(17 * 1024 * 1024, 0)
  for (let i = 0; i < big.length; i += 4) big.writeUInt32LE((Math.imul(i, 2_654_435_761) ^ (i >>> 7)) >>> 0, i)
  const files = { 'r1/results/results.json': big, 'r1/analysis/summary.txt': 'summary', 'r2/results/stderr.log': '' }
  await (await store()).uploadArtifact({ id: idOf('big', 'results'), ...(await folder(files)) })
  const stored = github.artifacts().get('k.big.results.a1')!.files
  expect(Object.keys(stored).sort()).toEqual(Object.keys(files).sort())
  expect(stored['r1/results/results.json']!.equals(big)).toBe(true)
  expect(stored['r1/analysis/summary.txt']!.toString()).toBe('summary')
  expect(github.requests().filter(r => r.method === 'PUT' && /comp=block&/.test(r.path)).length).toBeGreaterThan(2)
})

test('the same name again (409) replaces what is there', async () => {
  const s = await store()
  await s.uploadArtifact({ id: idOf('twice'), ...(await folder({ 'leg.json': '{"n":1}' })) })
  const second = await s.uploadArtifact({ id: idOf('twice'), ...(await folder({ 'leg.json': '{"n":2}' })) })
  expect(second.name).toBe('k.twice.run.a1')
  expect(github.requests().filter(r => r.path.endsWith('/CreateArtifact') && r.status === 409)).toHaveLength(1)
  expect((await s.listArtifacts()).filter(a => a.name === 'k.twice.run.a1')).toHaveLength(1)
  expect(await s.downloadLeg(await found(s, 'k.twice.run.a1'))).toEqual({ n: 2 })
})

test('an upload that broke off keeps its name taken, and the next one gets another', async () => {
  const s = await store()
  github.faults.push({ method: 'POST', path: /FinalizeArtifact$/, times: 1, status: 400, message: 'cut off here' })
  await expect(s.uploadArtifact({ id: idOf('cut'), ...(await folder({ 'leg.json': '{"n":1}' })) })).rejects.toThrow(
    'cut off here',
  )
  const log = recordingLog()
  const again = await (await store(1, AbortSignal.timeout(30_000), log)).uploadArtifact({
    id: idOf('cut'),
    ...(await folder({ 'leg.json': '{"n":2}' })),
  })
  expect(again.name).toBe('k.cut.run.a1-2')
  expect(log.lines).toEqual(['the name k.cut.run.a1 is taken by an upload that broke off: the next one is used'])
  expect((await s.listArtifacts()).map(a => a.name).filter(n => n.includes('.cut.'))).toEqual(['k.cut.run.a1-2'])
})

test('a re-run sees what its earlier attempts uploaded, and reads it through REST', async () => {
  github.addArtifact('k.first.run.a1', zip([['leg.json', '{"attempt":1}']]), 1)
  const s = await store(2)
  const artifact = await found(s, 'k.first.run.a1')
  expect(artifact.earlierAttempt).toBe(true)
  expect(await s.downloadLeg(artifact)).toEqual({ attempt: 1 })
})

test('a re-run that may not list earlier attempts says which permission it needs, once, and goes on', async () => {
  const log = recordingLog()
  const s = await store(2, AbortSignal.timeout(30_000), log)
  const fault = { method: 'GET', path: /\/actions\/runs\//, status: 403, message: 'not accessible' }
  github.faults.push(fault)
  await s.listArtifacts()
  await s.listArtifacts()
  github.faults.splice(github.faults.indexOf(fault), 1)
  expect(log.lines).toEqual([expect.stringContaining('permissions: { actions: read }')])
})

const bomb = () => zip([['leg.json', Buffer.alloc(maxLegBytes + 1, 0x20)]])
/** Says in its headers that the entry is small. */
const liar = () => {
  const archive = bomb()
  const end = archive.lastIndexOf('PK\x05\x06', undefined, 'latin1')
  archive.writeUInt32LE(10, archive.readUInt32LE(end + 16) + 24)
  return archive
}
const flipped = () => {
  const archive = zip([['leg.json', '{"n":1}']])
  const end = archive.lastIndexOf('PK\x05\x06', undefined, 'latin1')
  const crc = archive.readUInt32LE(end + 16) + 16
  archive.writeUInt8(archive.readUInt8(crc) ^ 1, crc)
  return archive
}

test.each([
  ['bomb', bomb, 'more than 20971520'],
  ['liar', liar, 'cannot be unpacked within'],
  ['flipped', flipped, 'damaged'],
  [
    'twins',
    () =>
      zip([
        ['leg.json', '{}'],
        ['leg.json', '{"n":2}'],
      ]),
    'holds leg.json 2 times',
  ],
  ['empty', () => zip([]), 'holds no leg.json'],
  [
    'slip',
    () =>
      zip([
        ['../../leg.json', '{}'],
        ['/leg.json', '{}'],
      ]),
    'holds no leg.json',
  ],
  ['nozip', () => Buffer.from('PK this is no archive'), 'not a ZIP archive'],
  ['nothing', () => Buffer.alloc(0), 'not a ZIP archive'],
  ['nojson', () => zip([['leg.json', '{"n":']]), 'JSON'],
  ['latin1', () => zip([['leg.json', Buffer.from('{"n":"\xe4"}', 'latin1')]]), 'not valid'],
])('a hostile artifact (%s) is refused and leaves no file behind', async (leg, archive, message) => {
  const name = artifactName('k', leg, 'run', 1)
  github.addArtifact(name, archive())
  const s = await store()
  await expect(s.downloadLeg(await found(s, name))).rejects.toThrow(message)
  expect((await readdir(temp)).filter(f => f.startsWith('bench-leg-') || f === 'leg.json')).toEqual([])
})

test('an artifact whose bytes are not those that the service knows is refused', async () => {
  github.addArtifact('k.changed.run.a1', zip([['leg.json', '{}']])).digest = `sha256:${'0'.repeat(64)}`
  const s = await store()
  await expect(s.downloadLeg(await found(s, 'k.changed.run.a1'))).rejects.toThrow('does not have the digest')
})

test('an artifact that is larger than any leg is not even downloaded', async () => {
  const s = await store()
  const requests = github.requests().length
  await expect(
    s.downloadLeg({ name: 'k.huge.run.a1', id: 1, size: maxLegBytes + 1, earlierAttempt: false }),
  ).rejects.toThrow('more than a leg may have')
  expect(github.requests()).toHaveLength(requests)
})

test('a cancelled step does not wait for the artifact service', async () => {
  const abort = new AbortController()
  const s = await store(1, abort.signal)
  github.faults.push({ method: 'POST', path: /ListArtifacts$/, times: 1, delayMs: 1000 })
  setTimeout(() => abort.abort(Object.assign(new Error('received SIGTERM'), { name: 'CancelledError' })), 50)
  const started = performance.now()
  await expect(s.listArtifacts()).rejects.toThrow('received SIGTERM')
  expect(performance.now() - started).toBeLessThan(900)
  await new Promise(resolve => setTimeout(resolve, 1100))
})

test('without an artifact service it says so and gives nothing', async () => {
  const log = recordingLog()
  const env = { ...github.env, ACTIONS_RUNTIME_TOKEN: '' }
  expect(
    await openArtifacts({ env, context: githubContext(env)!, signal: AbortSignal.timeout(1000), log }),
  ).toBeUndefined()
  expect(log.lines).toEqual([expect.stringContaining('No artifact service here')])
})
