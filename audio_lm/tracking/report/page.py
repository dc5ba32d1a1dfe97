"""HTML template of the audio report, with its styles and script; ``@@NAME@@`` are placeholders."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; media-src data:;
 style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>@@TITLE@@</title>
<style>
:root {
  color-scheme: light dark;
  --page: light-dark(#f6f7f9, #14161a); --card: light-dark(#fff, #1d2026);
  --line: light-dark(#e1e4ea, #31353e);
  --text: light-dark(#1b1f27, #e7e9ee); --dim: light-dark(#667085, #98a1b3);
  --accent: light-dark(#4f46b8, #a8a1ff);
  --right: light-dark(#1a8450, #58c98d); --off: light-dark(#d08a1d, #e0a94a);
  --wrong: light-dark(#ffd9d6, #64272a); --missing: light-dark(#ffe7b8, #5c4414);
  --extra: light-dark(#e5dbff, #43307a);
  --near: light-dark(#e3f0d5, #34491f);
}
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", sans-serif }
main, .top { max-width: 1400px; margin: 0 auto; padding: 0 20px }
h1 { font-size: 22px; margin: 22px 0 2px; letter-spacing: -.01em }
.top p { margin: 0; color: var(--dim) }
nav { position: sticky; top: 0; z-index: 2; background: var(--page); border-bottom: 1px solid var(--line);
  margin: 14px 0 18px; padding: 10px 0 }
nav div { max-width: 1400px; margin: 0 auto; padding: 0 20px; display: flex; flex-wrap: wrap; gap: 6px;
  align-items: center }
button, input[type=search] { font: inherit; font-size: 13px; color: inherit; background: var(--card);
  border: 1px solid var(--line); border-radius: 99px; padding: 3px 11px }
button { cursor: pointer } button small { color: var(--dim) }
button:hover { border-color: var(--accent) }
button.on { background: var(--accent); border-color: var(--accent); color: light-dark(#fff, #14161a) }
button.on small { color: inherit; opacity: .75 }
nav label { font-size: 13px; margin-left: auto; display: flex; gap: 5px; align-items: center }
.legend { font-size: 12.5px; color: var(--dim); display: flex; gap: 12px; flex-wrap: wrap;
  margin-top: 8px !important }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(410px, 100%), 1fr)); gap: 16px;
  align-items: start; padding-bottom: 40px }
article { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--off);
  border-radius: 10px; padding: 12px 14px; min-width: 0 }
article.right { border-left-color: var(--right) }
article[hidden] { display: none }
header { display: flex; flex-wrap: wrap; gap: 4px 9px; align-items: baseline; margin-bottom: 9px }
.task { font-weight: 650; color: var(--accent) }
code { font-size: 12px; color: var(--dim); overflow-wrap: anywhere }
.stage, .score { font-size: 12px; color: var(--dim) }
.stage { margin-left: auto }
.score b { color: var(--text) }
.mel { position: relative; border-radius: 6px; overflow: hidden; background: #000;
  cursor: crosshair; height: 92px }
.mel img { width: 100%; height: 100%; display: block; object-fit: fill; user-select: none;
  -webkit-user-drag: none }
.mel i { position: absolute; inset: 0 auto 0 0; width: 2px; background: #fff; opacity: 0;
  pointer-events: none }
audio { width: 100%; height: 34px; margin-top: 8px; display: block }
.silent { color: var(--dim); margin: 0; font-size: 13px }
.question { color: var(--dim); font-size: 13.5px; margin: 9px 0; white-space: pre-wrap;
  overflow-wrap: anywhere; max-height: 9em; overflow: auto }
dl { margin: 0; display: grid; grid-template-columns: max-content 1fr; gap: 5px 12px }
dt { color: var(--dim); font-size: 12.5px; padding-top: 2px }
dd { margin: 0; overflow-wrap: anywhere; max-height: 15em; overflow: auto }
dd em { color: var(--dim) }
dd span, .legend span { border-radius: 4px; padding: 0 3px }
.wrong { background: var(--wrong) }
.missing { background: var(--missing) }
.extra { background: var(--extra) }
.near { background: var(--near) }
span.markup { font: 11.5px/1.4 ui-monospace, Menlo, Consolas, monospace; border: 1px solid var(--line);
  border-radius: 4px; padding: 0 3px; margin: 0 1px; color: var(--dim); display: inline-block }
@media print { nav, audio { display: none } article { break-inside: avoid } }
</style>
</head>
<body>
<div class="top"><h1>@@TITLE@@</h1><p>@@SUBTITLE@@</p><p>@@COUNT@@</p>
<p class="legend"><span class="wrong">another word</span><span class="missing">missing in the answer</span>
<span class="extra">only in the answer</span><span class="near">case, punctuation, or a stamp within
100 ms</span></p></div>
<nav><div><button class="on" data-task="">all <small>@@TOTAL@@</small></button>@@BUTTONS@@
<label><input type="checkbox" id="off"> only differences</label>
<input type="search" id="find" placeholder="find" aria-label="find"></div></nav>
<main>
@@CARDS@@
</main>
<script>
const cards = [...document.querySelectorAll("article")];
const buttons = [...document.querySelectorAll("nav button")];
const off = document.getElementById("off"), find = document.getElementById("find");
let task = "";
function show() {
  const word = find.value.toLowerCase();
  for (const card of cards)
    card.hidden = (task && card.dataset.task !== task) || (off.checked && card.classList.contains("right"))
      || (word && !card.textContent.toLowerCase().includes(word));
  for (const button of buttons) button.classList.toggle("on", button.dataset.task === task);
}
for (const button of buttons) button.onclick = () => { task = button.dataset.task; show(); };
off.onchange = find.oninput = show;
for (const card of cards) {
  const audio = card.querySelector("audio"), mel = card.querySelector(".mel");
  if (!audio) continue;
  const line = mel && mel.querySelector("i");
  const place = () => {
    if (!line) return;
    line.style.opacity = audio.currentTime > 0 ? .9 : 0;
    line.style.left = 100 * audio.currentTime / (audio.duration || 1) + "%";
  };
  const follow = () => { place(); if (!audio.paused) requestAnimationFrame(follow); };
  audio.onplay = () => {
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
    follow();
  };
  audio.ontimeupdate = audio.onseeked = place;
  if (mel) mel.onclick = event => {
    const box = mel.getBoundingClientRect();
    audio.currentTime = (event.clientX - box.left) / box.width * (audio.duration || 0);
    audio.play();
  };
}
</script>
</body>
</html>
"""
