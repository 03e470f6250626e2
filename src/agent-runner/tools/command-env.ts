/** The marker by which processes of one command can be found: `MGX_CALL=<id>` in their environment. */
export const CALL_MARKER = 'MGX_CALL'

/**
 * What of the runner's own environment a command may see; everything else may be a secret. Those of the second line say where
 * certificates are: without them a command in a network that has its own authority can download nothing.
 */
const PASSED = [
  ...['PATH', 'HOME', 'LANG', 'LC_ALL', 'TERM', 'TMPDIR', 'TZ', 'USER'],
  ...['SSL_CERT_FILE', 'SSL_CERT_DIR', 'NODE_EXTRA_CA_CERTS', 'NODE_USE_SYSTEM_CA', 'REQUESTS_CA_BUNDLE'],
] as const

/** The environment of the commands that the model runs. Nobody answers questions there, and no pager waits for a key. */
export const commandEnv = (own: Readonly<Record<string, string | undefined>>): Record<string, string> => {
  const passed = PASSED.flatMap((name) => {
    const value = own[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    HOME: '/tmp',
    LANG: 'C.UTF-8',
    TERM: 'dumb',
    ...Object.fromEntries(passed),
    CI: '1',
    PAGER: 'cat',
    GIT_PAGER: 'cat',
    GIT_TERMINAL_PROMPT: '0',
    // The workspace may belong to another user of the host; git refuses to work in it without this.
    GIT_CONFIG_COUNT: '1',
    GIT_CONFIG_KEY_0: 'safe.directory',
    GIT_CONFIG_VALUE_0: '*',
  }
}
