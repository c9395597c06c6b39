import { createHash } from 'node:crypto'
import { parsePythonLiteral } from './python-literal.ts'

/** What is kept of an HTTP body that holds the prompt. */
export interface RequestArgs {
  readonly maxTokens: number | null
  /** First 16 hex digits of the SHA-256 of the prompt (of the messages' JSON for chat requests). */
  readonly promptHash: string | null
}

const nothing: RequestArgs = { maxTokens: null, promptHash: null }

/**
 * Reads `request_args` of a guidellm record: the repr of a Python dict in 0.4 and 0.5, JSON text from 0.6 on. The body
 * may be the whole text or be under `body`.
 */
export function readRequestArgs(text: unknown): RequestArgs {
  if (typeof text !== 'string') return nothing
  const args = parseEither(text)
  const body = isMap(args) && isMap(args.body) ? args.body : args
  if (!isMap(body)) return nothing
  const limit = body.max_tokens ?? body.max_completion_tokens ?? body.max_output_tokens
  const prompt = body.prompt ?? body.messages ?? body.input
  return {
    maxTokens: typeof limit === 'number' && Number.isInteger(limit) && limit >= 0 ? limit : null,
    promptHash:
      prompt === undefined || prompt === null
        ? null
        : hashOf(typeof prompt === 'string' ? prompt : JSON.stringify(prompt)),
  }
}

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16)

function parseEither(text: string): unknown {
  if (text.startsWith("{'")) return parsePythonLiteral(text)
  try {
    return JSON.parse(text)
  } catch {
    return parsePythonLiteral(text)
  }
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
