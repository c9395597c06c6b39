// src -> lib (tsc) -> dist (ncc, one lazy chunk per import()) -> every chunk minified with esbuild, because
// `ncc --minify` only minifies index.js. Names are kept in our own chunks (error classes are part of what users see), not in
// the two large ones of the Kubernetes and artifact clients, where they would cost hundreds of kilobytes.
import { execFileSync } from 'node:child_process'
import { readdirSync, rmSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { transform } from 'esbuild'

const out = process.argv[2] ?? 'dist'
rmSync('lib', { recursive: true, force: true })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' })
rmSync(out, { recursive: true, force: true })
execFileSync(
  process.execPath,
  [
    'node_modules/@vercel/ncc/dist/ncc/cli.js',
    'build',
    'lib/index.js',
    '-o',
    out,
    '--target',
    'es2022',
    '--license',
    'licenses.txt',
    '--no-cache',
    '-q',
  ],
  { stdio: 'inherit' },
)
let bytes = 0
for (const name of readdirSync(out).filter(n => n.endsWith('.js'))) {
  const file = path.join(out, name)
  const source = await readFile(file, 'utf8')
  const { code } = await transform(source, {
    minify: true,
    keepNames: source.length < 3_000_000,
    format: 'esm',
    target: 'node24',
    legalComments: 'none',
  })
  if (code.includes('webpackMissingModule')) throw new Error(`${file} contains an unresolved import`)
  await writeFile(file, code)
  bytes += Buffer.byteLength(code)
}
console.log(`${out}: ${(bytes / 1e6).toFixed(2)} MB of JavaScript`)
