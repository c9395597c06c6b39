import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { hfToken, startWorld, type World } from './world.ts'

let world: World
afterAll(() => world?.close(), 60_000)

/** Every file below a folder, as latin1 text so that no byte is lost. */
function bytesBelow(folder: string): [string, string][] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(e => e.isFile())
    .map(e => path.join(e.parentPath, e.name))
    .map(file => [file, readFileSync(file, 'latin1')])
}

test('B9: no secret in a log, a file, an artifact, a comment or a pod, over standup, run, teardown and post', async () => {
  world = await startWorld()
  const config = parse(world.sandbox.kubeconfig)
  const clusterToken: string = config.users[0].user.token
  expect(clusterToken.length).toBeGreaterThan(8)
  const canaries = {
    hfToken,
    clusterToken,
    githubToken: world.github.token,
    hfBase64: Buffer.from(hfToken).toString('base64'),
  }
  const places: [string, string][] = []
  const podSpecs: string[] = []
  const mains = []
  for (const mode of ['standup', 'run', 'teardown'] as const) {
    const step = await world.main(mode)
    expect({ mode, exit: step.exitCode, out: step.exitCode === 0 ? '' : step.stdout + step.stderr }).toEqual({
      mode,
      exit: 0,
      out: '',
    })
    mains.push({ mode, step })
    podSpecs.push(
      JSON.stringify(
        world.sandbox.api
          .requests()
          .filter(r => /pods|deployments|jobs/.test(r.path))
          .map(r => r.body ?? ''),
      ),
    )
  }
  for (const { mode, step } of mains.toReversed()) {
    const post = await world.post(step)
    for (const [name, run] of [
      ['main', step],
      ['post', post],
    ] as const) {
      // The runner swallows add-mask lines: they are how it learns what to hide.
      const lines = run.stdout.split('\n')
      const masks = lines.filter(l => l.startsWith('::add-mask::'))
      expect({ mode, name, masked: masks.some(l => l.includes(clusterToken)) }).toEqual({ mode, name, masked: true })
      const firstOther = lines.findIndex(l => l !== '' && !l.startsWith('::add-mask::'))
      const lastInputMask = lines.findLastIndex(
        l => l.startsWith('::add-mask::') && (l.includes(clusterToken) || l.includes(world.github.token)),
      )
      expect({ mode, name, maskedFirst: lastInputMask < firstOther }).toEqual({ mode, name, maskedFirst: true })
      places.push([`${mode} ${name} log`, lines.filter(l => !l.startsWith('::add-mask::')).join('\n') + run.stderr])
      places.push(...bytesBelow(run.temp))
    }
    places.push(...bytesBelow(step.inputs.out!))
  }
  for (const comment of world.github.comments()) places.push(['comment', comment.body])
  for (const [name, artifact] of world.github.artifacts()) {
    for (const [file, bytes] of Object.entries(artifact.files))
      places.push([`artifact ${name}/${file}`, bytes.toString('latin1')])
  }
  places.push(['pod specs', podSpecs.join('\n')])
  expect(places.length).toBeGreaterThan(20)
  const found = places.flatMap(([where, text]) =>
    Object.entries(canaries)
      .filter(([, secret]) => text.includes(secret))
      .map(([name]) => `${name} in ${where}`),
  )
  expect(found).toEqual([])
}, 180_000)

test('a pull request from a fork is refused before the kubeconfig is read', async () => {
  const step = await world.main(
    'standup',
    { kubeconfig: 'not a kubeconfig at all: [' },
    { env: { GITHUB_EVENT_PATH: await world.github.writeEvent({ fork: true }) } },
  )
  expect(step.exitCode).toBe(1)
  expect(step.stdout).toMatch(/fork/)
  expect(step.outputs['failure-code']).toBe('PREFLIGHT')
}, 180_000)
