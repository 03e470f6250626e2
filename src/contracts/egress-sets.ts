/** Named sets of hosts in an egress policy. docs/operations.md repeats this table; a test compares the two. */
export const EGRESS_SETS = {
  /** Where package managers read from. Nothing here takes what an agent sends, but for the names it asks for. */
  registries: [
    // npm and yarn; node-gyp reads Node's headers from the third
    ...['registry.npmjs.org', 'registry.yarnpkg.com', 'nodejs.org'],
    // Python
    ...['pypi.org', 'files.pythonhosted.org'],
    // Rust
    ...['crates.io', 'index.crates.io', 'static.crates.io'],
    // Go
    ...['proxy.golang.org', 'sum.golang.org'],
    // Java
    ...['repo.maven.apache.org', 'repo1.maven.org', 'plugins.gradle.org', 'services.gradle.org'],
    // Ruby, PHP, .NET
    ...['rubygems.org', 'index.rubygems.org', 'packagist.org', 'repo.packagist.org', 'api.nuget.org'],
    // Debian
    ...['deb.debian.org', 'security.debian.org'],
    // Archives of repositories on GitHub, which packages depend on by their address
    'codeload.github.com',
  ],
  /** GitHub as a whole: who may come here can also send what it likes to a repository or a gist of its own. */
  github: ['github.com', 'api.github.com', 'codeload.github.com', '*.githubusercontent.com'],
} as const satisfies Record<string, readonly string[]>

export type EgressSetName = keyof typeof EGRESS_SETS

export const EGRESS_SET_NAMES = Object.keys(EGRESS_SETS) as readonly EgressSetName[]
