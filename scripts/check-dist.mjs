// dist/ must be exactly what a clean build gives. Compares the committed files with a fresh build, byte for byte,
// including files that only one side has.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'

const fresh = 'lib-dist-check'
const list = dir =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter(e => e.isFile())
    .map(e => path.relative(dir, path.join(e.parentPath, e.name)))
    .sort()
try {
  execFileSync(process.execPath, ['scripts/bundle.mjs', fresh], { stdio: 'inherit' })
  const [a, b] = [list('dist'), list(fresh)]
  const wrong = [...new Set([...a, ...b])].filter(
    f =>
      !a.includes(f) || !b.includes(f) || !readFileSync(path.join('dist', f)).equals(readFileSync(path.join(fresh, f))),
  )
  if (wrong.length > 0) {
    console.error(`dist/ is not what a clean build gives; run npm run build and commit. Differing: ${wrong.join(', ')}`)
    process.exitCode = 1
  } else console.log(`dist/ equals a clean build (${a.length} files)`)
} finally {
  rmSync(fresh, { recursive: true, force: true })
}
