/** Every error that mgx answers with over HTTP: stable code, status, and what to do. docs/errors.md is compared with it by a test. */
export const ERRORS = {
  INVALID_REQUEST: { status: 400, remediation: 'Correct the field that `cause` names; /docs lists the body.' },
  INVALID_ID: { status: 400, remediation: 'Choose another id.' },
  UNKNOWN_FRAMEWORK: { status: 400, remediation: 'Use one of the frameworks that the message lists.' },
  INVALID_JSON: { status: 400, remediation: 'Send one JSON object, UTF-8.' },
  INVALID_CURSOR: {
    status: 400,
    remediation: 'Use a `seq` you have seen (0 for the beginning), or `next` as it was given.',
  },
  UNAUTHORIZED: { status: 401, remediation: 'Send a bearer token of this run.' },
  NOT_FOUND: { status: 404, remediation: 'See /docs for the routes there are.' },
  SESSION_NOT_FOUND: { status: 404, remediation: 'Check the session id; POST /api/agent/generate creates a session.' },
  RUN_NOT_FOUND: { status: 404, remediation: 'List the runs of the session: GET /api/agent/sessions/:id/runs.' },
  ATTESTATION_NOT_FOUND: {
    status: 404,
    remediation: 'Ask for another run: this one ended before its container could be looked at, or had none.',
  },
  METHOD_NOT_ALLOWED: { status: 405, remediation: 'See /docs for the methods of this route.' },
  NOT_ACCEPTABLE: { status: 406, remediation: 'Accept application/json or text/event-stream.' },
  SESSION_BUSY: { status: 409, remediation: 'Follow or stop the run that is named, then try again.' },
  WORKSPACE_BUSY: { status: 409, remediation: 'Follow or stop the run that is named, or use another workspace.' },
  SESSION_MISMATCH: {
    status: 409,
    remediation: 'Use the workspace and framework of the session, or a new session id.',
  },
  IDEMPOTENCY_KEY_REUSED: { status: 409, remediation: 'Use a new Idempotency-Key for a different body.' },
  RUN_OVER: { status: 409, remediation: 'Nothing to stop: read its result.' },
  PAYLOAD_TOO_LARGE: {
    status: 413,
    remediation: 'Put large material into the workspace and refer to it in the prompt.',
  },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, remediation: 'Send content-type: application/json.' },
  QUEUE_FULL: {
    status: 429,
    remediation:
      'Try again after the seconds of Retry-After; or let the operator raise MAX_QUEUED_RUNS or add workers.',
  },
  INTERNAL: { status: 500, remediation: 'Try again; the log of the API has the details under the request id.' },
  UNAVAILABLE: { status: 503, remediation: 'Try again; GET /readyz says which service is missing.' },
} as const satisfies Record<string, { status: number; remediation: string }>

export type ErrorCode = keyof typeof ERRORS

/** The one shape of an error on the wire. */
export type ErrorBody = {
  readonly code: ErrorCode
  readonly message: string
  readonly cause: string
  readonly remediation: string
  /** The run that is in the way, with SESSION_BUSY and WORKSPACE_BUSY. */
  readonly run_id?: string
  readonly session_id?: string
}

/** Thrown where a request cannot be served; the API turns it into an {@link ErrorBody}. */
export class MgxError extends Error {
  readonly code: ErrorCode
  /** What exactly was wrong, in words for the caller. */
  readonly detail: string
  readonly extra: { run_id?: string; session_id?: string }
  /** When trying again may help; sent as the header Retry-After. */
  retryAfterSeconds?: number

  constructor(
    code: ErrorCode,
    message: string,
    detail = message,
    extra: { run_id?: string; session_id?: string } = {},
  ) {
    super(message)
    this.name = 'MgxError'
    this.code = code
    this.detail = detail
    this.extra = extra
  }

  get status(): number {
    return ERRORS[this.code].status
  }

  toBody(): ErrorBody {
    return {
      code: this.code,
      message: this.message,
      cause: this.detail,
      remediation: ERRORS[this.code].remediation,
      ...this.extra,
    }
  }
}
