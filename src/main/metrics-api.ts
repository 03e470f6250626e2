import { Counter, Gauge, Histogram, type Registry } from '@prometheus-io/client'
import type { ApiMeter } from '#api/meter.ts'

/** Seconds: an answer takes milliseconds, and 15 s at most (the handler's time-out). */
const ANSWER_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15]

const GENERATE = '/api/agent/generate'

export const createApiMeter = (registry: Registry): ApiMeter => {
  const registers = [registry]
  const answers = new Histogram({
    name: 'mgx_http_request_duration_seconds',
    help: 'Answers of the API that are not streams, by the pattern of their route.',
    labelNames: ['method', 'route', 'status'],
    buckets: ANSWER_BUCKETS,
    registers,
  })
  const refused = new Counter({
    name: 'mgx_runs_refused_total',
    help: 'Requests to generate that became no run, by error code.',
    labelNames: ['code'],
    registers,
  })
  return {
    answered: ({ method, route = 'none', status, seconds }) => answers.observe({ method, route, status }, seconds),
    refused(route, code) {
      if (route === GENERATE) refused.inc({ code })
    },
    streams(open) {
      const gauge: Gauge = new Gauge({
        name: 'mgx_http_open_streams',
        help: 'Responses that stay open: clients that follow events or output.',
        registers,
        collect: () => gauge.set(open()),
      })
    },
  }
}
