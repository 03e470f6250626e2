import type { Chart } from './charts/chart.ts'
import type { Row } from './row.ts'
import type { Bench } from './stack.ts'

/** What a part of the benchmark found out: figures for the table, and the pictures made of them. */
export type Findings = { readonly rows: readonly Row[]; readonly charts?: readonly Chart[] }

export type Part = (bench: Bench) => Promise<Findings>
