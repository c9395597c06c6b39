import { createReadStream, readFileSync } from 'node:fs'
import path from 'node:path'
import { type ParsedReport, parseReport } from '../../../src/harness/parse.ts'
import { type ReducedReport, readReport } from '../../../src/harness/report-reader.ts'

const folder = path.join(import.meta.dirname, '..', '..', 'fixtures', 'guidellm')

/** Reports that guidellm wrote against a toy server: layout and arithmetic are real, speeds mean nothing. */
export const reports = {
  '0.4.0': 'GEN_v040_ok.json',
  '0.5': 'GEN_v050_ok.json',
  '0.6': 'GEN_v061_ok.json',
  '0.7': 'GEN_v073_ok.json',
  saturated: 'GEN_v050_saturated.json',
  'all failed': 'GEN_v050_allfail.json',
} as const
export type ReportName = keyof typeof reports
export const reportNames = Object.keys(reports) as ReportName[]

export const reduced = (name: ReportName): Promise<ReducedReport> =>
  readReport(createReadStream(path.join(folder, reports[name])))
export const parsed = async (name: ReportName): Promise<ParsedReport> => parseReport(await reduced(name))

// biome-ignore lint/suspicious/noExplicitAny: a report as guidellm wrote it, of any version
export const raw = (name: ReportName): any => JSON.parse(readFileSync(path.join(folder, reports[name]), 'utf8'))

/** A value as the stream of bytes that a file would give, in pieces of `size`. */
export async function* stream(text: string, size = 64 * 1024): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}
export const readText = (text: string, size?: number): Promise<ReducedReport> => readReport(stream(text, size))
