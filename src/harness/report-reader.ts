import { JSONParser } from '@streamparser/json'
import { UserError } from '../errors.ts'
import { LenientJson } from './lenient-json.ts'
import { redactKeys } from './redact.ts'
import { readRequestArgs } from './request-args.ts'

/** A guidellm report without prompts, completions and credentials: still in guidellm's own layout. */
export interface ReducedReport {
  readonly metadata?: unknown
  readonly args?: unknown
  readonly config?: unknown
  readonly benchmarks?: unknown
}

/** Of an error message, which may quote what the server answered. */
const maxErrorText = 300
/** A file that is no JSON at all is recognised in its first bytes; this is how much of them the message shows. */
const shownBytes = 40

/**
 * Reads results.json in one pass. Every request record is reduced as soon as it is complete, so that a report with all
 * its text needs little more memory than one without: `request_args` becomes `{"max_tokens": N}`, `prompt_hash` is added,
 * texts are dropped. NaN and Infinity are read as null. What the iterable throws is passed on.
 * @throws UserError RESULTS for an empty, truncated or non-JSON input
 */
export async function readReport(chunks: AsyncIterable<Uint8Array>): Promise<ReducedReport> {
  const parser = new JSONParser({
    paths: ['$', '$.benchmarks.*.requests.*.*'],
    keepStack: true,
    stringBufferSize: 64 * 1024,
  })
  let root: unknown
  let complete = false
  let broken: Error | undefined
  parser.onValue = ({ value, stack }) => {
    if (stack.length > 0) reduceRecord(value)
    else {
      root = value
      complete = true
    }
  }
  parser.onError = error => {
    broken ??= error
  }
  let trailing = false
  const feed = new LenientJson(bytes => {
    if (broken !== undefined) return
    if (!complete) parser.write(bytes)
    else trailing ||= Buffer.from(bytes).toString('latin1').trim() !== ''
  })
  let size = 0
  let head = Buffer.alloc(0)
  for await (const chunk of chunks) {
    if (head.length < shownBytes) head = Buffer.concat([head, chunk.subarray(0, shownBytes)])
    size += chunk.length
    try {
      feed.push(chunk)
    } catch (error) {
      broken ??= error as Error
    }
    if (broken !== undefined) throw notJson(broken, head, size)
  }
  if (head.toString('latin1').trim() === '') throw emptyReport(size)
  if (!complete) throw truncatedReport(size)
  if (trailing) throw notJson(new Error('there is more text after the end of the JSON value'), head, size)
  if (typeof root !== 'object' || root === null || Array.isArray(root)) {
    throw notJson(new Error('the JSON value is not an object'), head, size)
  }
  return redactKeys(root) as ReducedReport
}

function reduceRecord(record: unknown): void {
  if (typeof record !== 'object' || record === null) return
  const r = record as Record<string, unknown>
  const { maxTokens, promptHash } = readRequestArgs(r.request_args)
  r.request_args = maxTokens === null ? null : JSON.stringify({ max_tokens: maxTokens })
  if (typeof r.prompt_hash !== 'string') r.prompt_hash = promptHash
  for (const text of ['output', 'reasoning_output', 'tool_calls']) if (text in r) r[text] = null
  const info = r.info as Record<string, unknown> | null | undefined
  if (typeof info !== 'object' || info === null) return
  if ('traceback' in info) info.traceback = null
  if (typeof info.error === 'string') info.error = info.error.slice(0, maxErrorText)
}

const lookAtLogs = 'Look at stdout.log and stderr.log of the harness pod in the results artifact.'

const emptyReport = (size: number): UserError =>
  new UserError('RESULTS', `The guidellm report results.json is empty (${size} bytes).`, {
    why: 'guidellm writes its report once, at the very end; it was stopped before that, or the disk was full.',
    next: lookAtLogs,
  })

const truncatedReport = (size: number): UserError =>
  new UserError(
    'RESULTS',
    `The guidellm report results.json is truncated: it ends after ${size} bytes in the middle of a value.`,
    {
      why: 'guidellm was killed while it wrote the report, or the volume of the harness pod was full.',
      next: `${lookAtLogs} Give the harness pod more memory with the input overrides if it was killed.`,
    },
  )

const notJson = (error: Error, head: Buffer, size: number): UserError =>
  new UserError('RESULTS', 'The guidellm report results.json is not JSON.', {
    why: `${error.message.slice(0, 200)}, within the first ${size} bytes.`,
    next: `${lookAtLogs} Check that the harness image runs guidellm 0.4 or newer.`,
    evidence: [`it begins with ${JSON.stringify(head.subarray(0, shownBytes).toString('utf8'))}`],
    cause: error,
  })
