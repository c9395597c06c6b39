import type { Failure } from '../errors.ts'
import { md, mdBlock } from './escape.ts'
import { fold, plural } from './format.ts'
import { evidenceBytes, evidenceLines } from './limits.ts'

type Shown = Pick<Failure, 'code' | 'what' | 'why' | 'next'>

/** What, why and what to do next: the sentences of a failure, one paragraph. */
export const failureText = (failure: Shown): string =>
  `\`${failure.code}\` ${md(failure.what, 600)} **Why:** ${md(failure.why, 900)} **Next:** ${md(failure.next, 600)}`

/** The raw lines that prove a failure, folded, in a block that they cannot leave; undefined without any. */
export function failureEvidence(failure: Pick<Failure, 'evidence'>): string | undefined {
  const { evidence } = failure
  if (evidence.length === 0) return undefined
  return fold(
    `Evidence: ${plural(evidence.length, 'line')} of events and logs`,
    mdBlock(evidence, { lines: evidenceLines, bytes: evidenceBytes }),
  )
}
