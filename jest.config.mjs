/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  // It needs a real API server (npm run test:controlplane).
  testPathIgnorePatterns: [
    '/node_modules/',
    ...(process.env.BENCH_CONTROLPLANE ? [] : ['<rootDir>/test/controlplane/']),
  ],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        swcrc: false,
        sourceMaps: 'inline',
        module: { type: 'es6' },
        jsc: { target: 'es2024', parser: { syntax: 'typescript' }, keepClassNames: true },
      },
    ],
  },
  // A test that hangs fails late; one that a busy machine slows down does not fail.
  testTimeout: 180_000,
  maxWorkers: 2,
  coverageProvider: 'babel',
  collectCoverageFrom: ['src/**/*.ts'],
}
