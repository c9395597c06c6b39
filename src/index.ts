#!/usr/bin/env node
import { start } from './main.ts'

await start(process.argv.slice(2), process.env)
