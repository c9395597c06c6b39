import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { entrypoints, programs as registered } from '../../sandbox/doubles/registry.ts'
import { parseServe } from '../../sandbox/doubles/vllm-args.ts'
import { type Hub, startHub } from '../../sandbox/hub.ts'
import { Programs } from './programs.ts'

let programs: Programs
beforeAll(async () => {
  programs = await Programs.create()
})
afterAll(() => programs.close())

const completion = (url: string, body: Record<string, unknown>, signal?: AbortSignal) =>
  fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal ? { signal } : {}),
  })
const gauge = async (url: string, name: string): Promise<number> =>
  Number(new RegExp(`^vllm:${name}\\{[^}]*\\} (\\S+)`, 'm').exec(await (await fetch(`${url}/metrics`)).text())![1])

describe('the registry', () => {
  test('every program is a file, and images without a command find theirs', () => {
    for (const file of Object.values(registered)) expect(existsSync(file)).toBe(true)
    const argv = (image: string) => entrypoints.find(e => e.image.test(image))?.argv
    expect(argv('ghcr.io/llm-d/llm-d-routing-sidecar:v0.4.0')).toEqual(['routing-sidecar'])
    expect(argv('mirror.example/llm-d/llm-d-inference-scheduler@sha256:ab')).toEqual(['epp'])
    expect(argv('docker.io/istio/proxyv2:1.28.1')).toEqual(['istio-proxy'])
    expect(argv('ghcr.io/llm-d/llm-d-cuda:v0.4.0')).toBeUndefined()
  })
})

describe('vllm serve', () => {
  test('an unknown option is refused with exit code 2 and its name', async () => {
    const { code, stderr } = await programs.run('vllm', ['serve', programs.folder, '--enforce-eagerly'])
    expect(code).toBe(2)
    expect(stderr).toContain('error: unrecognized arguments: --enforce-eagerly')
  })
  test('the options of a stack are understood, with and without an equals sign', () => {
    const argv = [
      'serve',
      '/m',
      '--host',
      '0.0.0.0',
      '--port=8200',
      '--block-size',
      '64',
      '--kv-transfer-config',
      '{"kv_role":"kv_both"}',
      '--enforce-eager',
      '--disable-log-requests',
    ]
    expect(parseServe(argv)).toMatchObject({
      model: '/m',
      options: new Map([
        ['host', '0.0.0.0'],
        ['port', '8200'],
        ['block-size', '64'],
        ['kv-transfer-config', '{"kv_role":"kv_both"}'],
        ['enforce-eager', 'true'],
        ['disable-log-requests', 'true'],
      ]),
    })
    expect(parseServe(['serve', '/m', '--port', 'http'])).toContain('invalid int value')
    expect(parseServe(['serve', '/m', '--kv-transfer-config', '{kv}'])).toContain('cannot be converted')
  })
  test('a folder without weights ends it with 1', async () => {
    const { code, stderr } = await programs.run('vllm', ['serve', join(programs.folder, 'nothing')])
    expect(code).toBe(1)
    expect(stderr).toContain('weights missing')
  })

  test('a stream has one event per token, then the usage, then its end', async () => {
    const { url } = await programs.vllm()
    const text = await (
      await completion(url, {
        model: 'sim/model',
        prompt: 'a b c',
        max_tokens: 5,
        stream: true,
        ignore_eos: true,
        stream_options: { include_usage: true },
      })
    ).text()
    const events = text.split('\n\n').filter(Boolean)
    expect(events.at(-1)).toBe('data: [DONE]')
    const parsed = events.slice(0, -1).map(event => JSON.parse(event.slice('data: '.length)))
    expect(parsed).toHaveLength(6)
    expect(parsed.slice(0, 5).map(p => p.choices[0].finish_reason)).toEqual([null, null, null, null, 'length'])
    expect(parsed[5]).toMatchObject({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 } })
    const chat = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'sim/model', max_tokens: 2, messages: [{ role: 'user', content: 'hi there' }] }),
    })
    expect(await chat.json()).toMatchObject({
      object: 'chat.completion',
      choices: [{ message: { role: 'assistant' } }],
      usage: { prompt_tokens: 2, completion_tokens: 2 },
    })
    expect(await gauge(url, 'generation_tokens_total')).toBe(7)
    expect(await gauge(url, 'e2e_request_latency_seconds_count')).toBe(2)
  })

  test('what it cannot serve is refused as the API does', async () => {
    const { url } = await programs.vllm()
    expect((await completion(url, { model: 'other', prompt: 'a' })).status).toBe(404)
    const long = await completion(url, { model: 'sim/model', prompt: 'a '.repeat(100), max_tokens: 16_000 })
    expect(long.status).toBe(400)
    expect(await long.text()).toContain('maximum context length is 16000 tokens')
    expect((await (await fetch(`${url}/v1/models`)).json()) as object).toMatchObject({
      data: [{ id: 'sim/model', max_model_len: 16000 }],
    })
  })

  test('a client that goes away frees its place', async () => {
    const { url } = await programs.vllm({ SIM_STEP_MS: '50' })
    const leave = new AbortController()
    const answer = await completion(
      url,
      { model: 'sim/model', prompt: 'a', max_tokens: 1000, stream: true },
      leave.signal,
    )
    await answer.body!.getReader().read()
    expect(await gauge(url, 'num_requests_running')).toBe(1)
    leave.abort()
    const until = Date.now() + 5_000
    while ((await gauge(url, 'num_requests_running')) > 0 && Date.now() < until)
      await new Promise(resolve => setTimeout(resolve, 20))
    expect(await gauge(url, 'num_requests_running')).toBe(0)
    expect(await gauge(url, 'kv_cache_usage_perc')).toBe(0)
  })

  test('SIGTERM lets open requests finish and then ends it with 0', async () => {
    const { child, url } = await programs.vllm({ SIM_STEP_MS: '30' })
    const answer = await completion(url, { model: 'sim/model', prompt: 'a', max_tokens: 20, stream: true })
    const ended = new Promise(resolve => child.on('exit', resolve))
    child.kill('SIGTERM')
    expect((await answer.text()).endsWith('data: [DONE]\n\n')).toBe(true)
    expect(await ended).toBe(0)
    await expect(completion(url, { model: 'sim/model', prompt: 'a' })).rejects.toThrow('fetch failed')
  })
})

describe('the routing sidecar', () => {
  test('it answers 502 while vLLM is down and passes everything on once it is up', async () => {
    const { url } = await programs.vllm()
    const start = async (port: string) =>
      (
        await programs.serve('routing-sidecar', ['--port=0', `--vllm-port=${port}`], /starting on (127[\d.]+:\d+)/, {
          SANDBOX_POD_IP: '127.0.0.1',
        })
      ).match[1]!
    const [down, up] = await Promise.all([start('9'), start(new URL(url).port)])
    expect((await fetch(`http://${down}/health`)).status).toBe(502)
    expect((await fetch(`http://${up}/health`)).status).toBe(200)
    const stream = await (await completion(`http://${up}`, { prompt: 'a', max_tokens: 3, stream: true })).text()
    expect(stream.match(/data: /g)).toHaveLength(4)
  })
})

describe('curl', () => {
  let server: http.Server
  let url = ''
  beforeAll(async () => {
    server = http.createServer((request, response) => {
      let body = ''
      request.on('data', (part: Buffer) => {
        body += part
      })
      request.on('end', () => {
        if (request.url === '/slow') return
        const status = request.url === '/missing' ? 404 : 200
        response.writeHead(status).end(
          JSON.stringify({
            method: request.method,
            url: request.url,
            type: request.headers['content-type'],
            host: request.headers.host,
            body,
          }),
        )
      })
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })

  test('the status goes where -w says, after the body', async () => {
    const { code, stdout } = await programs.run('curl', [
      '--no-progress-meter',
      '-m',
      '5',
      '-w',
      '\\n%{http_code}',
      `${url}/missing`,
    ])
    expect(code).toBe(0)
    expect(stdout).toMatch(/"url":"\/missing".*\n404$/)
  })
  test('data makes it a POST, and a header replaces the default', async () => {
    const { stdout } = await programs.run('curl', ['-sS', '-H', 'Content-Type: application/json', '-d', '{"a":1}', url])
    expect(JSON.parse(stdout)).toMatchObject({ method: 'POST', type: 'application/json', body: '{"a":1}' })
  })
  test('-f turns a refusal into exit code 22, nobody listening is 7, no answer in time is 28', async () => {
    const [refused, nobody, late] = await Promise.all([
      programs.run('curl', ['-sSf', `${url}/missing`]),
      programs.run('curl', ['-s', '-w', '%{http_code}', 'http://127.0.0.1:9/']),
      programs.run('curl', ['-sS', '--max-time', '0.3', `${url}/slow`]),
    ])
    expect(refused).toMatchObject({
      code: 22,
      stdout: '',
      stderr: 'curl: (22) The requested URL returned error: 404\n',
    })
    expect(nobody).toMatchObject({ code: 7, stdout: '000', stderr: '' })
    expect(late.code).toBe(28)
    expect(late.stderr).toContain('curl: (28) Operation timed out after 300 milliseconds')
  })
  test('with a proxy in the environment the whole URL goes there', async () => {
    const { stdout } = await programs.run(
      'curl',
      ['-s', '-o', 'answer.json', '-w', '%{http_code}', 'http://gateway.ns.svc.cluster.local:80/v1/models'],
      { http_proxy: url },
    )
    expect(stdout).toBe('200')
    const seen = JSON.parse(readFileSync(join(programs.folder, 'answer.json'), 'utf8'))
    expect(seen).toMatchObject({
      method: 'GET',
      url: 'http://gateway.ns.svc.cluster.local/v1/models',
      host: 'gateway.ns.svc.cluster.local',
    })
  })
})

describe('hf and the model hub', () => {
  const gated = 'meta-llama/Llama-3.1-8B'
  let hub: Hub
  beforeAll(async () => {
    hub = await startHub({ gated: { [gated]: ['hf_member'] }, models: ['facebook/opt-125m'], tokens: ['hf_stranger'] })
  })
  afterAll(() => hub.close())
  const download = (model: string, folder: string, env: Record<string, string> = {}) =>
    programs.run('hf', ['download', model, '--local-dir', folder, '--exclude', 'original/*'], {
      HF_ENDPOINT: hub.url,
      ...env,
    })

  test('an open model is downloaded without what is excluded, and a second time nothing is fetched again', async () => {
    const before = hub.requests.length
    expect((await download('facebook/opt-125m', 'open')).code).toBe(0)
    const files = ['config.json', 'model.safetensors', 'tokenizer.json', 'original/consolidated.00.pth'].map(name =>
      existsSync(join(programs.folder, 'open', name)),
    )
    expect(files).toEqual([true, true, true, false])
    const fetched = hub.requests.length - before
    expect((await download('facebook/opt-125m', 'open')).code).toBe(0)
    expect(hub.requests.length - before - fetched).toBe(1)
  })
  test('a gated model needs a token with access, and vLLM loads what was downloaded', async () => {
    const [none, stranger, member] = await Promise.all([
      download(gated, 'none'),
      download(gated, 'stranger', { HF_TOKEN: 'hf_stranger' }),
      download(gated, 'member', { HF_TOKEN: 'hf_member' }),
    ])
    expect([none.code, stranger.code, member.code]).toEqual([1, 1, 0])
    expect(none.stderr).toContain('401 Client Error')
    expect(stranger.stderr).toContain('403 Client Error')
    expect(stranger.stderr).toContain('you are not in the authorized list')
    const loaded = await programs.serve(
      'vllm',
      ['serve', join(programs.folder, 'member'), '--port', '0'],
      /Listening on/,
    )
    expect(loaded.child.exitCode).toBeNull()
  })
  test('a login keeps the token for later, and a refused one ends with 1', async () => {
    const env = { HF_ENDPOINT: hub.url, HF_HOME: join(programs.folder, 'hf-home') }
    expect((await programs.run('hf', ['auth', 'login', '--token', 'hf_wrong'], env)).code).toBe(1)
    expect((await programs.run('hf', ['auth', 'login', '--token', 'hf_member'], env)).code).toBe(0)
    expect((await download(gated, 'later', env)).code).toBe(0)
  })
  test('the hub says what is gated, and tells unknown from forbidden as the public one does', async () => {
    const get = async (path: string, token?: string) =>
      fetch(hub.url + path, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } })
    expect(await (await get(`/api/models/${gated}`)).json()).toMatchObject({ id: gated, gated: 'manual' })
    expect(await (await get('/api/models/facebook/opt-125m')).json()).toMatchObject({
      gated: false,
      sha: expect.stringMatching(/^[0-9a-f]{40}$/),
    })
    const config = `/${gated}/resolve/main/config.json`
    expect((await get(config)).status).toBe(401)
    expect((await get(config, 'hf_stranger')).status).toBe(403)
    expect((await get(config, 'hf_member')).status).toBe(200)
    expect((await get('/api/models/nobody/nothing')).status).toBe(401)
    expect((await get('/api/models/nobody/nothing', 'hf_member')).status).toBe(404)
    expect((await get('/api/models/facebook/opt-125m', 'hf_wrong')).status).toBe(401)
  })
})

describe('python3 and pip', () => {
  test("the stack's own script leaves the rank for the shell to read", async () => {
    await writeFile(join(programs.folder, 'set_llmdbench_environment.py'), '')
    const { code } = await programs.run('python3', [join(programs.folder, 'set_llmdbench_environment.py')], {
      LWS_WORKER_INDEX: '2',
      DP_SIZE_LOCAL: '4',
    })
    expect(code).toBe(0)
    expect(readFileSync(join(programs.folder, 'llmdbench_env.sh'), 'utf8')).toBe('export START_RANK=8\n')
    expect((await programs.run('python3', ['/nowhere/set_llmdbench_environment.py'])).code).toBe(2)
  })
  test('pip has nothing to do', async () => {
    expect((await programs.run('pip', ['install', '--quiet', 'huggingface_hub'])).code).toBe(0)
  })
})
