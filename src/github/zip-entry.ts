import { crc32, inflateRawSync } from 'node:zlib'

// Offsets and signatures: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.16.
const endSignature = 0x06054b50
const centralSignature = 0x02014b50
const localSignature = 0x04034b50
const endLength = 22
const maxComment = 0xffff

/**
 * Takes one file out of a ZIP archive in memory. Nothing is written, so no name in it can lead anywhere; sizes are
 * checked before and while unpacking, whatever the archive claims.
 *
 * @returns undefined when the archive has no such entry.
 * @throws Error when the archive is broken, ambiguous, encrypted, or the entry larger than `maxBytes`.
 */
export function zipEntry(zip: Buffer, name: string, maxBytes: number): Buffer | undefined {
  const found = centralEntries(zip).filter(e => e.name === name)
  if (found.length > 1) throw new Error(`the archive holds ${name} ${found.length} times`)
  const entry = found[0]
  if (entry === undefined) return undefined
  if ((entry.flags & 1) !== 0) throw new Error(`${name} is encrypted`)
  if (entry.size > maxBytes) throw new Error(`${name} unpacks to ${entry.size} bytes, more than ${maxBytes}`)
  const at = entry.offset
  if (at + 30 > zip.length || zip.readUInt32LE(at) !== localSignature)
    throw new Error('the archive is broken: no local header')
  const start = at + 30 + zip.readUInt16LE(at + 26) + zip.readUInt16LE(at + 28)
  const packed = zip.subarray(start, start + entry.packed)
  if (packed.length !== entry.packed) throw new Error('the archive is broken: it ends too early')
  const data = unpack(packed, entry.method, name, maxBytes)
  if (data.length !== entry.size || crc32(data) !== entry.crc)
    throw new Error(`${name} is damaged: size or checksum differ`)
  return data
}

function unpack(packed: Buffer, method: number, name: string, maxBytes: number): Buffer {
  if (method === 0) return packed
  if (method !== 8) throw new Error(`${name} uses compression method ${method}`)
  try {
    return inflateRawSync(packed, { maxOutputLength: maxBytes })
  } catch (error) {
    throw new Error(`${name} cannot be unpacked within ${maxBytes} bytes`, { cause: error })
  }
}

interface CentralEntry {
  readonly name: string
  readonly flags: number
  readonly method: number
  readonly crc: number
  readonly packed: number
  readonly size: number
  readonly offset: number
}

function centralEntries(zip: Buffer): CentralEntry[] {
  const end = endRecord(zip)
  const count = zip.readUInt16LE(end + 10)
  let at = zip.readUInt32LE(end + 16)
  const entries: CentralEntry[] = []
  for (let i = 0; i < count; i++) {
    if (at + 46 > end || zip.readUInt32LE(at) !== centralSignature)
      throw new Error('the archive is broken: bad central directory')
    const nameLength = zip.readUInt16LE(at + 28)
    entries.push({
      name: zip.toString('utf8', at + 46, at + 46 + nameLength),
      flags: zip.readUInt16LE(at + 8),
      method: zip.readUInt16LE(at + 10),
      crc: zip.readUInt32LE(at + 16),
      packed: zip.readUInt32LE(at + 20),
      size: zip.readUInt32LE(at + 24),
      offset: zip.readUInt32LE(at + 42),
    })
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32)
  }
  return entries
}

function endRecord(zip: Buffer): number {
  for (let at = zip.length - endLength; at >= Math.max(0, zip.length - endLength - maxComment); at--) {
    if (zip.readUInt32LE(at) === endSignature && at + endLength + zip.readUInt16LE(at + 20) === zip.length) return at
  }
  throw new Error('this is not a ZIP archive')
}
