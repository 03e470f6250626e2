/** The files that the demo model's agent writes: one small page. Pure. */

/** Behind this line a later prompt adds its own. */
export const MARKER = '<!-- later wishes -->'

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

const PROMPT_SHOWN = 300

export const escapeHtml = (text: string): string => text.replace(/[&<>"]/g, (char) => ENTITIES[char] ?? char)

/** A prompt as one line of the page. */
export const wish = (prompt: string): string => {
  const line = prompt.replace(/\s+/g, ' ').trim()
  return escapeHtml(line.length > PROMPT_SHOWN ? `${line.slice(0, PROMPT_SHOWN).toWellFormed()}…` : line)
}

/** Without a language on purpose: the check that comes next finds it, and the agent mends it. */
export const indexHtml = (prompt: string): string => `<!doctype html>
<html>
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Hello from mgx</title>
  <link rel="stylesheet" href="style.css">
</head>
<body>
  <main>
    <p class="kicker">built by the scripted demo model of mgx</p>
    <h1>Hello<span id="who">, visitor</span></h1>
    <p id="clock" aria-live="off"></p>
    <h2>What was asked for</h2>
    <ul>
      <li>${wish(prompt)}</li>
      ${MARKER}
    </ul>
    <button id="theme" type="button">Day or night</button>
  </main>
  <script src="script.js"></script>
</body>
</html>
`

export const STYLE_CSS = `:root {
  color-scheme: light;
  --paper: #fbf7f0;
  --ink: #23201c;
  --accent: #c2410c;
}

:root[data-theme="night"] {
  color-scheme: dark;
  --paper: #16181d;
  --ink: #ece7df;
  --accent: #fdba74;
}

body {
  margin: 0;
  min-height: 100vh;
  display: grid;
  place-items: center;
  background: var(--paper);
  color: var(--ink);
  font: 1.1rem/1.6 Georgia, serif;
  transition: background 0.3s, color 0.3s;
}

main {
  max-width: 34rem;
  padding: 2rem;
}

h1 {
  margin: 0;
  font-size: clamp(2.5rem, 10vw, 4.5rem);
  line-height: 1.1;
}

.kicker,
#who {
  color: var(--accent);
}

button {
  padding: 0.5rem 1.2rem;
  border: 1px solid currentcolor;
  border-radius: 2rem;
  background: none;
  color: inherit;
  font: inherit;
  cursor: pointer;
}
`

export const SCRIPT_JS = `const root = document.documentElement
const clock = document.querySelector('#clock')

const tick = () => {
  clock.textContent = new Date().toLocaleString(undefined, { dateStyle: 'full', timeStyle: 'medium' })
}

document.querySelector('#theme').addEventListener('click', () => {
  root.dataset.theme = root.dataset.theme === 'night' ? 'day' : 'night'
})

tick()
setInterval(tick, 1000)
`

/** Exit code 1 and the reason when the page has a fault. Needs a shell and node, nothing else. */
export const CHECK = [
  "node --check script.js && echo 'script.js: valid'",
  'for file in style.css script.js; do grep -q "$file" index.html && echo "index.html: loads $file"; done',
  "grep -q '<html lang=' index.html || { echo 'index.html: <html> does not say its language'; exit 1; }",
  "echo 'index.html: says its language'",
].join('\n')
