import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { extract } from 'tar-stream'
import { UserError } from '../errors.ts'
import type { Log } from '../log.ts'
import { type Api, pause } from './api.ts'
import { isTransient } from './api-error.ts'
import { exec } from './exec.ts'
import type { ContainerRef } from './logs.ts'

export interface FetchedFile {
  /** Path relative to the folder, with `/`. */
  readonly path: string
  readonly bytes: number
  readonly sha256: string
}

/** No result of a benchmark is larger; a pod that claims more is not trusted with this disk. */
const maxTotalBytes = 4 * 1024 ** 3
const maxFiles = 2000
const attempts = 3

/**
 * Copies a folder out of a container: first a manifest (size and SHA-256 of every file, computed in the pod), then one
 * tar stream, unpacked and compared with the manifest. Kubernetes exec can end early without an error
 * (kubernetes/kubernetes#124571), so only the comparison says that the copy is whole.
 * @throws UserError RESULTS when three attempts do not give the files of the manifest.
 */
export async function fetchFolder(
  api: Api,
  target: ContainerRef,
  folder: string,
  destination: string,
  options: { signal: AbortSignal; log: Log },
): Promise<FetchedFile[]> {
  let last: unknown
  for (let attempt = 1; attempt <= attempts; attempt++) {
    options.signal.throwIfAborted()
    try {
      const manifest = await readManifest(api, target, folder, options.signal)
      const received = await receive(api, target, folder, destination, options.signal)
      const wrong = manifest.filter(m => {
        const got = received.get(m.path)
        return got === undefined || got.bytes !== m.bytes || got.sha256 !== m.sha256
      })
      if (wrong.length === 0) return manifest
      last = new Error(`${wrong.length} of ${manifest.length} files differ from the pod's, first ${wrong[0]?.path}`)
    } catch (error) {
      options.signal.throwIfAborted()
      if (error instanceof UserError) throw error
      last = error
      if (!isTransient(error) && !(error instanceof Error && /tar|differ|Unexpected end/i.test(error.message))) break
    }
    if (attempt < attempts) {
      options.log.info(
        `copying results of ${target.pod} failed (${(last as Error).message}); attempt ${attempt + 1} of ${attempts}`,
      )
      await pause(1000 * attempt, options.signal)
    }
  }
  throw new UserError('RESULTS', `The results of pod ${target.pod} could not be copied.`, {
    why: (last as Error).message,
    next: 'Check that the API server allows long exec connections; run the step again, it repeats what is missing.',
    cause: last,
  })
}

async function readManifest(
  api: Api,
  target: ContainerRef,
  folder: string,
  signal: AbortSignal,
): Promise<FetchedFile[]> {
  const script = `cd "$1" && find . -type f -exec sh -c 'for f; do printf "%s %s %s\\n" "$(wc -c < "$f" | tr -d " ")" "$(sha256sum < "$f" | cut -d" " -f1)" "$f"; done' sh {} +`
  const out: Buffer[] = []
  const result = await exec(api, target, ['sh', '-c', script, 'sh', folder], {
    signal,
    timeoutMs: 120_000,
    onStdout: chunk => out.push(chunk),
  })
  if (result.exitCode !== 0) {
    throw new UserError('RESULTS', `The result folder ${folder} of pod ${target.pod} cannot be read.`, {
      why: `Listing it ended with exit code ${result.exitCode}.`,
      next: 'Look at the harness log in the results artifact; the harness image must contain find, sha256sum and tar.',
      evidence: result.stderr.split('\n').slice(0, 5),
    })
  }
  const files: FetchedFile[] = []
  for (const line of Buffer.concat(out).toString('utf8').split('\n')) {
    if (line === '') continue
    const match = /^(\d+) ([0-9a-f]{64}) \.\/(.+)$/.exec(line)
    if (!match) throw new Error(`unreadable manifest line ${JSON.stringify(line.slice(0, 80))}`)
    files.push({ bytes: Number(match[1]), sha256: match[2]!, path: safePath(match[3]!) })
  }
  const total = files.reduce((sum, f) => sum + f.bytes, 0)
  if (files.length > maxFiles || total > maxTotalBytes) {
    throw new UserError('RESULTS', `Pod ${target.pod} offers ${files.length} files of ${total} bytes as results.`, {
      why: `The limit is ${maxFiles} files and ${maxTotalBytes} bytes.`,
      next: 'Use fewer or shorter rates, or guidellm 0.5.4 or newer, which can leave prompts out of its report.',
    })
  }
  return files
}

async function receive(api: Api, target: ContainerRef, folder: string, destination: string, signal: AbortSignal) {
  await rm(destination, { recursive: true, force: true })
  await mkdir(destination, { recursive: true })
  const received = new Map<string, { bytes: number; sha256: string }>()
  const untar = extract()
  let total = 0
  const unpacked = (async () => {
    for await (const entry of untar) {
      if (entry.header.type !== 'file') {
        entry.resume()
        continue
      }
      const name = safePath(entry.header.name.replace(/^\.\//, ''))
      const file = path.join(destination, name)
      await mkdir(path.dirname(file), { recursive: true })
      const hash = createHash('sha256')
      let bytes = 0
      await pipeline(
        entry as unknown as Readable,
        async function* (source: AsyncIterable<Buffer>) {
          for await (const chunk of source) {
            bytes += chunk.length
            total += chunk.length
            if (total > maxTotalBytes) throw new Error('the tar stream is larger than the limit')
            hash.update(chunk)
            yield chunk
          }
        },
        createWriteStream(file, { mode: 0o600 }),
      )
      received.set(name, { bytes, sha256: hash.digest('hex') })
    }
  })()
  const stream = untar as unknown as Writable
  const sent = exec(api, target, ['tar', '-C', folder, '-cf', '-', '.'], {
    signal,
    onStdout: chunk => stream.write(Buffer.from(chunk)),
  }).then(
    result => {
      if (result.exitCode === 0) stream.end()
      else
        stream.destroy(
          new Error(`tar in the pod ended with exit code ${result.exitCode}: ${result.stderr.slice(0, 200)}`),
        )
    },
    error => {
      stream.destroy(error)
      throw error
    },
  )
  await Promise.all([sent, unpacked])
  return received
}

/** Refuses names that would leave the destination: the pod is not trusted. */
function safePath(name: string): string {
  const parts = name.split('/')
  if (
    name.startsWith('/') ||
    name.includes('\\') ||
    name.includes('\0') ||
    parts.some(p => p === '..' || p === '' || p === '.')
  ) {
    throw new UserError(
      'RESULTS',
      `The results contain a file with the unsafe name ${JSON.stringify(name.slice(0, 120))}.`,
      {
        why: 'A file name from a pod must stay inside the result folder.',
        next: 'Check which image ran as the harness.',
      },
    )
  }
  return name
}
