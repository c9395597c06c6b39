import { expect, test } from '@jest/globals'
import { readKubeconfig, tokenExpiry } from '../../../src/inputs/kubeconfig.ts'
import { kubeconfig, withToken } from './kubeconfig-text.ts'

const strict = { context: undefined, allowFiles: false }
const source = (text: string, options = strict) => {
  const read = readKubeconfig(text, options)
  if (!('source' in read)) throw new Error(read.problem.why)
  return read.source
}

test('content and base64 of it, with and without line breaks, are the same kubeconfig', () => {
  const text = kubeconfig()
  const encoded = Buffer.from(text).toString('base64')
  const expected = { kind: 'content', yaml: text }
  expect(source(text)).toEqual(expected)
  expect(source(encoded)).toEqual(expected)
  expect(source(encoded.replace(/(.{60})/g, '$1\n'))).toEqual(expected)
})

test('in-cluster holds no secret', () => {
  expect(readKubeconfig('in-cluster', strict)).toEqual({ source: { kind: 'in-cluster' }, secrets: [] })
})

test('an exec plugin is kept, and the values of its environment are secrets', () => {
  const read = readKubeconfig(
    kubeconfig({ user: { exec: { command: 'aws', env: [{ name: 'KEY', value: 'exec-env-value' }] } } }),
    strict,
  )
  expect('source' in read).toBe(true)
  expect(read.secrets).toContain('exec-env-value')
})

test('every secret of every user is found, with its lines and its base64', () => {
  const pem =
    '-----BEGIN EC PRIVATE KEY-----\nfirst-line-of-the-key\nsecond-line-of-the-key\n-----END EC PRIVATE KEY-----\n'
  const data = Buffer.from(pem).toString('base64')
  const text = kubeconfig({
    user: {
      token: 'tok-1234567',
      password: 'pass-word',
      'client-key-data': data,
      'client-certificate-data': Buffer.from('certificate-body').toString('base64'),
      'auth-provider': { name: 'oidc', config: { 'refresh-token': 'refresh-me', 'idp-issuer-url': 'https://issuer' } },
    },
  })
  const { secrets } = readKubeconfig(text, strict)
  for (const s of [
    'tok-1234567',
    Buffer.from('tok-1234567').toString('base64'),
    'pass-word',
    data,
    pem,
    'first-line-of-the-key',
    'second-line-of-the-key',
    'refresh-me',
  ]) {
    expect(secrets).toContain(s)
  }
  // A runner hides every registered text wherever it occurs: ordinary lines must not become asterisks.
  for (const plain of ['kind: Config', 'clusters:', 'https://issuer', text]) expect(secrets).not.toContain(plain)
  expect(secrets).toContain('token: tok-1234567')
  expect(secrets.every(s => !/^-----BEGIN [A-Z ]+-----$/.test(s))).toBe(true)
  expect([...secrets].sort((a, b) => b.length - a.length)).toEqual([...secrets])
})

test('secrets of a kubeconfig that does not parse are found too', () => {
  const read = readKubeconfig('users:\n- user: {token: broken-but-secret\n', strict)
  expect('problem' in read).toBe(true)
  expect(read.secrets).toContain('broken-but-secret')
})

test('files may be named on the command line only', () => {
  const text = kubeconfig({ user: { 'client-certificate': '/c.pem', 'client-key': '/k.pem' } })
  expect(readKubeconfig(text, strict)).toHaveProperty('problem')
  expect(readKubeconfig(text, { context: undefined, allowFiles: true })).toHaveProperty('source')
})

test('the expiry of a JWT is read in milliseconds; anything else has none', () => {
  expect(tokenExpiry(source(withToken(1_700_000_000)), undefined)).toBe(1_700_000_000_000)
  expect(tokenExpiry(source(kubeconfig()), undefined)).toBeUndefined()
  expect(tokenExpiry({ kind: 'in-cluster' }, undefined)).toBeUndefined()
  for (const exp of ['soon', null, -1, 1e300]) expect(tokenExpiry(source(withToken(exp)), undefined)).toBeUndefined()
})
