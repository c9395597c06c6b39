import type { Log } from '../../../src/log.ts'

/** A log that keeps its lines. */
export function recordingLog(): Log & { readonly lines: string[] } {
  const lines: string[] = []
  const keep = (line: string) => void lines.push(line)
  return { lines, info: keep, warning: keep, debug: () => undefined, group: (_name, work) => work() }
}
