/** What kind of project a workspace is: how the runner is briefed, and later how it is previewed and shipped. */
export const FRAMEWORKS = {
  nextjs: 'A Next.js application (TypeScript, app router).',
  'fastapi-vite': 'A FastAPI back end in backend/ (Python) and a Vite front end in frontend/ (TypeScript).',
  vite: 'A single-page application built with Vite (TypeScript).',
  static: 'Plain HTML, CSS and JavaScript, served as files; index.html is the entry.',
} as const

export type Framework = keyof typeof FRAMEWORKS

export const FRAMEWORK_NAMES = Object.keys(FRAMEWORKS) as [Framework, ...Framework[]]
