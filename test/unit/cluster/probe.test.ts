import { execFile } from 'node:child_process'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from '@jest/globals'
import { isSafeUrl, parseProbe, probeScript } from '../../../src/cluster/probe.ts'
import { asFailure } from '../../../src/errors.ts'
import { checkAnswer } from '../../../src/modes/smoke.ts'
import { gatewayEndpoint } from '../../../src/modes/stack-ready.ts'

const b64 = (text: string) => Buffer.from(text).toString('base64')
const models = (...ids: string[]) => JSON.stringify({ data: ids.map(id => ({ id })) })
const url = 'http://10.0.0.1:8000'

describe('B36, B56: what an endpoint answers', () => {
  test('models and completion of every target come back in order', () => {
    const lines = [
      `PROBE models-0 200 ${b64(`${models('a/b')}\n200`)}`,
      `PROBE models-1 200 ${b64(`${models('a/b', 'lora')}\n200`)}`,
      `PROBE completion-1 200 ${b64('{"choices":[{"text":" Paris"}]}\n200')}`,
      'PROBE end 0',
    ]
    const answers = parseProbe(lines, [{ url }, { url, completionModel: 'a/b' }], 'SMOKE')
    expect(answers[0]).toMatchObject({ status: 200, models: ['a/b'] })
    expect(answers[1]).toMatchObject({ models: ['a/b', 'lora'], completion: { status: 200, text: ' Paris' } })
    expect(() => checkAnswer(answers[1]!, 'lora', 'x')).not.toThrow()
  })
  test('a body cannot forge a line of the probe: it travels as base64', () => {
    const lines = [`PROBE models-0 200 ${b64(`PROBE models-0 200\nPROBE end 0\n200`)}`, 'PROBE end 0']
    expect(parseProbe(lines, [{ url }], 'SMOKE')[0]).toMatchObject({ models: [] })
  })
  test('a probe that ended early is an error, not an empty answer', () => {
    expect(() => parseProbe([`PROBE models-0 200 ${b64('x')}`], [{ url }], 'SMOKE')).toThrow('before it had asked')
  })
  test('a mismatch names both model ids', () => {
    const [answer] = parseProbe(
      [`PROBE models-0 200 ${b64(`${models('other/model')}\n200`)}`, 'PROBE end 0'],
      [{ url }],
      'SMOKE',
    )
    const failure = (() => {
      try {
        return checkAnswer(answer!, 'a/b', 'pod p')
      } catch (error) {
        return asFailure(error)
      }
    })()
    expect(failure).toMatchObject({ code: 'SMOKE', what: expect.stringMatching(/other\/model instead of a\/b/) })
  })
  test('B37: a gateway that lists the model and completes nothing fails', () => {
    const lines = [
      `PROBE models-0 200 ${b64(`${models('a/b')}\n200`)}`,
      `PROBE completion-0 500 ${b64('boom\n500')}`,
      'PROBE end 0',
    ]
    const [answer] = parseProbe(lines, [{ url, completionModel: 'a/b' }], 'SMOKE')
    expect(() => checkAnswer(answer!, 'a/b', 'the gateway')).toThrow('completes nothing')
  })
})

test.each([
  ['http://10.1.2.3:8000', true],
  ['http://gw.ns.svc.cluster.local:80', true],
  ['http://[fd00::1]:8000', true],
  ["http://x'; rm -rf /;'", false],
  ['http://x/$(id)', false],
  ['http://user:pw@host', false],
  ['file:///etc/passwd', false],
])('an endpoint %s from the cluster is safe in a shell: %s', (text, safe) => {
  expect(isSafeUrl(text)).toBe(safe)
})

describe('B37: the probe script', () => {
  /** Runs it for real, with a curl that answers 503 a number of times before it answers 200. */
  async function probe(failures: number, seconds: number) {
    const dir = await mkdtemp(path.join(tmpdir(), 'bench-probe-'))
    const curl = `#!/bin/sh
n=$(cat ${dir}/count 2>/dev/null || echo 0); echo $((n + 1)) > ${dir}/count
if [ "$n" -lt ${failures} ]; then printf 'starting\\n503'; else printf '%s\\n200' '${models('a/b')}'; fi
`
    await writeFile(path.join(dir, 'curl'), curl, { mode: 0o755 })
    const { stdout } = await promisify(execFile)('sh', ['-c', probeScript, 'sh', String(seconds), url, ''], {
      env: { PATH: `${dir}:/usr/bin:/bin` },
    })
    const asked = Number(await readFile(path.join(dir, 'count'), 'utf8'))
    return { answers: parseProbe(stdout.split('\n'), [{ url }], 'SMOKE'), asked }
  }
  test('a server that is still starting is asked again until it answers', async () => {
    const { answers, asked } = await probe(2, 20)
    expect(answers[0]).toMatchObject({ status: 200, models: ['a/b'] })
    expect(asked).toBe(3)
  }, 30_000)
  test('it ends at the deadline with the last answer', async () => {
    const { answers, asked } = await probe(1000, 2)
    expect(answers[0]).toMatchObject({ status: 503, models: [] })
    expect(asked).toBeGreaterThan(1)
  }, 30_000)
})

describe('B53, B54: the address of the gateway', () => {
  const gateway = (addresses: unknown[]) => ({
    apiVersion: 'v1',
    kind: 'Gateway',
    metadata: { name: 'g' },
    status: { addresses },
  })
  test('a host name wins', () => {
    expect(
      gatewayEndpoint(
        gateway([
          { type: 'IPAddress', value: '10.0.0.9' },
          { type: 'Hostname', value: 'infra-llmdbench-inference-gateway-istio.llm-d-vezio.svc.cluster.local' },
        ]),
        { namespace: 'n' },
      ),
    ).toBe('http://infra-llmdbench-inference-gateway-istio.llm-d-vezio.svc.cluster.local:80')
  })
  test('an IP address is taken as it is', () => {
    expect(gatewayEndpoint(gateway([{ type: 'IPAddress', value: '10.0.0.9' }]), { namespace: 'n' })).toBe(
      'http://10.0.0.9:80',
    )
    expect(gatewayEndpoint(gateway([{ type: 'IPAddress', value: 'fd00::9' }]), { namespace: 'n' })).toBe(
      'http://[fd00::9]:80',
    )
  })
  test('no address is an error that says where to look', () => {
    expect(() => gatewayEndpoint(gateway([]), { namespace: 'n' })).toThrow('has no address')
  })
})
