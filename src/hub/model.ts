import { HttpClient } from '@actions/http-client'
import { UserError } from '../errors.ts'
import type { Log } from '../log.ts'

/** What the model hub says before any GPU is taken. */
export interface ModelAccess {
  /** True when the download needs the token. */
  readonly gated: boolean
  /** Commit of the model repository, when the hub told it. */
  readonly revision?: string
}

export const publicHub = 'https://huggingface.co'
const timeoutMs = 15_000

/**
 * Asks the hub whether a model is gated and, only then, whether the token opens it. A hub that cannot be reached from
 * the runner is reported and not taken for "not gated": the download in the cluster will decide.
 * @throws UserError INPUT for a gated model without a token or a model that does not exist, PREFLIGHT for a refused token.
 */
export async function modelAccess(request: {
  model: string
  token: string | undefined
  endpoint: string | undefined
  signal: AbortSignal
  log: Log
}): Promise<ModelAccess> {
  const { model, token, log } = request
  const hub = (request.endpoint ?? publicHub).replace(/\/+$/, '')
  const client = new HttpClient('llm-d-bench-action', undefined, {
    socketTimeout: timeoutMs,
    allowRetries: true,
    maxRetries: 2,
  })
  const path = model.split('/').map(encodeURIComponent).join('/')
  const bearer = token === undefined ? {} : { Authorization: `Bearer ${token}` }
  const ask = async (url: string): Promise<{ status: number; body: string } | undefined> => {
    request.signal.throwIfAborted()
    try {
      const response = await client.get(url, bearer)
      return { status: response.message.statusCode ?? 0, body: await response.readBody() }
    } catch (error) {
      request.signal.throwIfAborted()
      log.warning(
        `The model hub ${hub} cannot be reached from this runner (${(error as Error).message}); access to ${model} was not checked.`,
      )
      return undefined
    }
  }

  const info = await ask(`${hub}/api/models/${path}`)
  if (info === undefined) return { gated: token !== undefined }
  if (info.status === 401 || info.status === 404) {
    throw new UserError('INPUT', `The model hub does not know the model ${model}.`, {
      why: `GET /api/models/${model} answered ${info.status}; the hub answers so for a name that does not exist and for a private one without access.`,
      next: 'Check the spelling of the input `model`; for a private model set `hf-token` to a token that may read it.',
    })
  }
  if (info.status !== 200) {
    log.warning(`The model hub answered ${info.status} for ${model}; access was not checked.`)
    return { gated: token !== undefined }
  }
  const { gated, revision } = parseInfo(info.body)
  if (!gated) return { gated: false, ...(revision === undefined ? {} : { revision }) }
  if (token === undefined) {
    throw new UserError('INPUT', `The model ${model} is gated and no token was given.`, {
      why: 'Its owner asks every user to accept a licence first.',
      next: `Accept the licence on the model's page, then set the input \`hf-token\` to a secret with a read token.`,
    })
  }
  const probe = await ask(`${hub}/${path}/resolve/main/config.json`)
  if (probe !== undefined && (probe.status === 401 || probe.status === 403)) {
    throw new UserError('PREFLIGHT', `The token has no access to the gated model ${model}.`, {
      why: `The hub answered ${probe.status} for its config.json.`,
      next: `Accept the licence of ${model} with the account of the token, or use another token in \`hf-token\`.`,
    })
  }
  if (probe !== undefined && probe.status !== 200) {
    throw new UserError('PREFLIGHT', `The access to the gated model ${model} could not be checked.`, {
      why: `The hub answered ${probe.status} for its config.json.`,
      next: 'Run the job again; if it stays, look at the status page of the hub.',
    })
  }
  return { gated: true, ...(revision === undefined ? {} : { revision }) }
}

function parseInfo(body: string): { gated: boolean; revision?: string } {
  try {
    const { gated, sha } = JSON.parse(body) as { gated?: unknown; sha?: unknown }
    return {
      gated: gated !== undefined && gated !== false,
      ...(typeof sha === 'string' && /^[0-9a-f]{7,64}$/.test(sha) ? { revision: sha } : {}),
    }
  } catch {
    return { gated: false }
  }
}
