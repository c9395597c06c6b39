import { createHash } from 'node:crypto'
import http from 'node:http'
import type { AddressInfo } from 'node:net'

export interface HubOptions {
  /** Gated models, each with the tokens that have access. */
  readonly gated?: Readonly<Record<string, readonly string[]>>
  /** Open models besides. Default: two that examples use. */
  readonly models?: readonly string[]
  /** Valid tokens without access to anything gated. */
  readonly tokens?: readonly string[]
  /** Bytes of the weights file. */
  readonly weightBytes?: number
  /** Delay of the weights file, in milliseconds. */
  readonly downloadMs?: number
}
export interface HubRequest {
  readonly method: string
  readonly url: string
  readonly authorized: boolean
}
export interface Hub {
  readonly url: string
  readonly requests: readonly HubRequest[]
  close(): Promise<void>
}

/**
 * A double of the model hub on 127.0.0.1: model information, file downloads and the check of a token. It answers
 * refusals as the public one does: 401 without a valid token (also for a repository that does not exist), 403 for a
 * valid token without access, 404 for an unknown repository with a valid token.
 */
export async function startHub(options: HubOptions = {}): Promise<Hub> {
  const gated = options.gated ?? {}
  const known = new Set([
    ...(options.models ?? ['meta-llama/Llama-3.1-8B', 'facebook/opt-125m']),
    ...Object.keys(gated),
  ])
  const tokens = new Set([...Object.values(gated).flat(), ...(options.tokens ?? [])])
  const requests: HubRequest[] = []
  const files = (model: string): Record<string, Buffer> => ({
    'config.json': Buffer.from(
      JSON.stringify({ architectures: ['LlamaForCausalLM'], model_type: 'llama', _name_or_path: model }),
    ),
    'generation_config.json': Buffer.from('{}'),
    'model.safetensors': Buffer.alloc(options.weightBytes ?? 65_536, 1),
    'original/consolidated.00.pth': Buffer.alloc(options.weightBytes ?? 65_536, 2),
    'tokenizer.json': Buffer.from(JSON.stringify({ version: '1.0', model: { type: 'WordLevel', vocab: {} } })),
    'tokenizer_config.json': Buffer.from(JSON.stringify({ tokenizer_class: 'PreTrainedTokenizerFast' })),
  })

  const server = http.createServer((request, response) => {
    const url = new URL(request.url!, 'http://hub')
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1]
    const valid = token !== undefined && tokens.has(token)
    requests.push({ method: request.method!, url: request.url!, authorized: token !== undefined })
    const answer = (status: number, body: unknown, code?: string) =>
      response
        .writeHead(status, { 'content-type': 'application/json', ...(code ? { 'x-error-code': code } : {}) })
        .end(JSON.stringify(body))

    if (url.pathname === '/api/whoami-v2')
      return void (valid
        ? answer(200, { type: 'user', name: 'tester' })
        : answer(401, { error: 'Invalid credentials' }))
    const info = /^\/api\/models\/([^/]+\/[^/]+)(?:\/revision\/([^/]+))?$/.exec(url.pathname)
    const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname)
    const model = info?.[1] ?? file?.[1]
    if (model === undefined) return void answer(404, { error: 'Not found' })
    if (token !== undefined && !valid) return void answer(401, { error: 'Invalid credentials in Authorization header' })
    if (!known.has(model))
      return void (valid
        ? answer(404, { error: 'Repository not found' }, 'RepoNotFound')
        : answer(401, { error: 'Invalid username or password.' }))
    if (info) {
      const siblings = Object.entries(files(model)).map(([rfilename, bytes]) => ({ rfilename, size: bytes.length }))
      const sha = createHash('sha1').update(model).digest('hex')
      return void answer(200, {
        id: model,
        modelId: model,
        gated: model in gated ? 'manual' : false,
        private: false,
        sha,
        siblings,
      })
    }
    const access = gated[model]
    if (access !== undefined && !valid)
      return void answer(
        401,
        { error: `Access to model ${model} is restricted. You must be authenticated to access it.` },
        'GatedRepo',
      )
    if (access !== undefined && !access.includes(token!))
      return void answer(
        403,
        { error: `Access to model ${model} is restricted and you are not in the authorized list.` },
        'GatedRepo',
      )
    const bytes = files(model)[file![3]!]
    if (bytes === undefined) return void answer(404, { error: 'Entry not found' }, 'EntryNotFound')
    const send = () =>
      response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes.length }).end(bytes)
    if (file![3] === 'model.safetensors' && options.downloadMs) setTimeout(send, options.downloadMs)
    else send()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
