import { createReadStream } from 'node:fs'
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { podEvidence } from '../cluster/diagnose.ts'
import { fetchFolder } from '../cluster/files.ts'
import { wholeLog } from '../cluster/logs.ts'
import { UserError } from '../errors.ts'
import { type ReducedReport, readReport } from '../harness/report-reader.ts'
import type { Repeat } from '../results/schema.ts'
import type { KubeObject } from '../stack/kube.ts'
import { replicaCsv, replicaTable } from '../timeline/replica-table.ts'
import { type RepeatContext, resultsDir } from './repeat-context.ts'

export interface Collected {
  /** Raw files of the pod, on this machine; the report with prompts is gone from it. */
  readonly folder: string
  readonly report: { readonly reduced: ReducedReport } | { readonly error: unknown }
}

/** Fetches a pod's folder and puts the files, renamed and stripped of prompts, where the artifact is made from. */
export async function collect(
  context: RepeatContext,
  index: number,
  i: number,
  of: number,
  pod: KubeObject,
): Promise<Collected> {
  const { api, session, resultsFolder } = context
  const folder = path.join(session.out, 'raw', `r${index}-${i}`)
  const target = { namespace: pod.metadata.namespace!, pod: pod.metadata.name, container: 'results' }
  const files = await fetchFolder(api, target, resultsDir(session, index, i), folder, {
    signal: session.signal,
    log: session.log,
  })
  const slug = `${fileSlug(context, index)}${of > 1 ? `.${i}` : ''}`
  const results = path.join(resultsFolder, `r${index}`, 'results')
  const analysis = path.join(resultsFolder, `r${index}`, 'analysis')
  await mkdir(results, { recursive: true })
  await mkdir(analysis, { recursive: true })
  for (const file of files) {
    if (file.path === 'results.json') continue
    const inAnalysis = file.path.startsWith('analysis/')
    const name = file.path.replace(/^analysis\//, '').replaceAll('/', '-')
    await copyFile(path.join(folder, file.path), path.join(inAnalysis ? analysis : results, `${slug}.${name}`))
  }
  const podLog = await wholeLog(api, { ...target, container: 'harness' }, session.signal).catch(() => '')
  await writeFile(path.join(results, `${slug}.pod.log`), podLog)
  const report = await reduce(path.join(folder, 'results.json'))
  if ('reduced' in report) await writeFile(path.join(results, `${slug}.results.json`), JSON.stringify(report.reduced))
  return { folder, report }
}

/** Reads the report, strips it, and deletes the original: prompts and completions do not stay on the runner. */
async function reduce(file: string): Promise<Collected['report']> {
  try {
    return { reduced: await readReport(createReadStream(file, { highWaterMark: 1 << 20 })) }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') return { error: cause }
    const error = new UserError('RESULTS', 'guidellm ended with exit code 0 and wrote no results.json.', {
      why: 'It writes its report once, at the very end; the process may have been stopped before.',
      next: 'Look at stdout.log and stderr.log in the results artifact.',
      cause,
    })
    return { error }
  } finally {
    await rm(file, { force: true })
  }
}

/** What a harness that ended with an error said last. */
export async function harnessFailed(
  context: RepeatContext,
  pod: KubeObject,
  exitCode: number,
  collected: readonly Collected[],
): Promise<UserError> {
  const lines: string[] = []
  for (const { folder } of collected) {
    for (const name of ['stderr.log', 'stdout.log']) {
      const text = await readFile(path.join(folder, name), 'utf8').catch(() => '')
      const tail = text
        .split('\n')
        .filter(l => l.trim() !== '')
        .slice(-10)
      if (tail.length > 0) lines.push(`last lines of ${name}:`, ...tail)
    }
  }
  return new UserError('HARNESS', `guidellm ended with exit code ${exitCode} in pod ${pod.metadata.name}.`, {
    why: exitCode === 137 ? 'The container was killed, most likely out of memory.' : 'See its last lines below.',
    next: 'The complete stdout.log and stderr.log are in the results artifact; `overrides` changes the harness CPU and memory.',
    evidence: [...lines, ...(await podEvidence(context.api, pod))],
  })
}

/** The replicas of a repeat over time, for a person to read and for a program. */
export async function writeReplicas(context: RepeatContext, repeat: Repeat): Promise<void> {
  const analysis = path.join(context.resultsFolder, `r${repeat.index}`, 'analysis')
  await mkdir(analysis, { recursive: true })
  const slug = fileSlug(context, repeat.index)
  await writeFile(path.join(analysis, `${slug}.replicas.txt`), replicaTable(repeat))
  await writeFile(path.join(analysis, `${slug}.replicas.csv`), replicaCsv(repeat))
}

/** `<model>.<namespace>.<leg>.<profile>.r<k>`, safe in a file name (B70). */
function fileSlug(context: RepeatContext, index: number): string {
  const { session } = context
  const part = (text: string) =>
    text
      .replace(/[^A-Za-z0-9-]+/g, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 60)
  return [context.model, session.inputs.namespace.model, session.leg, context.profileName]
    .map(part)
    .concat(`r${index}`)
    .join('.')
}
