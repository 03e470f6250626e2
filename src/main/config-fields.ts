import { resolve } from 'node:path'
import * as z from 'zod'
import { type ModelPrices, parsePrices } from '#contracts/prices.ts'

/** The shapes that values in the environment have. Each takes the text as it stands there. */

export const text = z.string().trim().min(1)

export const int = (min: number, max: number) =>
  z
    .string()
    .trim()
    .regex(/^\d{1,15}$/)
    .transform(Number)
    .pipe(z.int().min(min).max(max))

export const decimal = (min: number, max: number) =>
  z
    .string()
    .trim()
    .regex(/^\d{1,9}(\.\d{1,9})?$/)
    .transform(Number)
    .pipe(z.number().min(min).max(max))

export const flag = z.stringbool({
  truthy: ['1', 'true', 'yes', 'on'],
  falsy: ['0', 'false', 'no', 'off'],
})

const UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }

/** Bytes, in Docker's notation: `2g`, `512m`, `64k`, `1048576`. */
export const bytes = (min: number) =>
  z
    .string()
    .trim()
    .toLowerCase()
    .regex(/^\d{1,15}[bkmg]?$/)
    .transform((value) => Number.parseInt(value, 10) * (UNITS[value.replace(/\d/g, '')] ?? 1))
    .pipe(z.int().min(min))

export const list = z.string().transform((value) =>
  value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
)

/** A directory; relative ones are meant from where the process was started. */
export const directory = text.transform((value) => resolve(value))

export const url = (...protocols: readonly string[]) =>
  text.refine((value) => {
    const scheme = URL.canParse(value) ? new URL(value).protocol : /^(mongodb(?:\+srv)?:)\/\/./.exec(value)?.[1]
    return scheme !== undefined && protocols.includes(scheme.slice(0, -1))
  })

/** An address without a slash at its end, so that a path can be put behind it. */
export const baseUrl = url('http', 'https').transform((value) => value.replace(/\/+$/, ''))

export const host = text.regex(/^[A-Za-z0-9.:_-]+$/)

/** `*`, or what browsers send as `Origin`: scheme, host and port, nothing behind. */
export const origins = list.refine((all) => all.every((one) => one === '*' || URL.parse(one)?.origin === one))

/** `uid:gid`, numeric and not root. */
export const user = text.regex(/^[1-9]\d{0,9}:\d{1,10}$/)

export const name = text.regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/)

export const prices = text.transform(parsePrices).pipe(z.custom<ModelPrices>((value) => value !== undefined))

export const oneOf = <T extends string>(...words: readonly [T, ...T[]]) => text.pipe(z.enum(words))

const DNS_LABEL = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?'

/** Names in Kubernetes (RFC 1123). */
export const dnsLabel = text.regex(new RegExp(`^${DNS_LABEL}$`))
export const dnsName = text.max(253).regex(new RegExp(`^${DNS_LABEL}(\\.${DNS_LABEL})*$`))
