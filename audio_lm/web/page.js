// Conversation and players of the page. `audioLmShow` takes the HTML of all turns and replaces those that differ, so
// that an audio keeps playing while an answer grows.
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const nearEnd = () => window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 160;

  window.audioLmShow = json => {
    const talk = find(".talk");
    if (!talk) return;
    const turns = JSON.parse(json || "[]"), follow = nearEnd();
    const shown = [...talk.querySelectorAll(":scope > .turn")];
    find(".start", talk).hidden = turns.length > 0;
    talk.closest(".gradio-container").toggleAttribute("data-talking", turns.length > 0);
    turns.forEach((html, index) => {
      const old = shown[index];
      if (old && old.audioLmHtml === html) return;
      const box = document.createElement("template");
      box.innerHTML = html;
      const turn = box.content.firstElementChild;
      turn.audioLmHtml = html;
      if (old) old.replaceWith(turn); else talk.append(turn);
    });
    shown.slice(turns.length).forEach(turn => turn.remove());
    if (follow || turns.length > shown.length) window.scrollTo({ top: document.documentElement.scrollHeight });
  };

  // Audio elements of a clip and the end of the span that is played.
  const ends = new WeakMap();
  const playerOf = token => find(`.clip[data-clip="${CSS.escape(token)}"] audio`);

  function mark(clip, start, end) {
    const area = find(".mel b", clip), seconds = find("audio", clip).duration;
    area.classList.toggle("on", end > start);
    area.style.left = 100 * start / seconds + "%";
    area.style.width = 100 * Math.max(0, end - start) / seconds + "%";
  }

  async function playSpan(button) {
    const { clip: token, start, end } = button.dataset, audio = playerOf(token);
    if (!audio) return;
    if (!(audio.duration > 0)) {
      audio.load();
      await new Promise(done => audio.addEventListener("loadedmetadata", done, { once: true }));
    }
    document.querySelectorAll("button.span.on").forEach(other => other.classList.remove("on"));
    button.classList.add("on");
    const clip = audio.closest(".clip");
    mark(clip, +start, Math.min(+end, audio.duration));
    ends.set(audio, +end);
    audio.currentTime = +start;
    const box = clip.getBoundingClientRect();
    if (box.bottom < 0 || box.top > window.innerHeight) clip.scrollIntoView({ block: "center", behavior: "smooth" });
    await audio.play();
  }

  function seek(mel, event) {
    const audio = find("audio", mel.closest(".clip")), box = mel.getBoundingClientRect();
    ends.delete(audio);
    mark(mel.closest(".clip"), 0, 0);
    audio.currentTime = (event.clientX - box.left) / box.width * (audio.duration || 0);
    audio.play();
  }

  function fill(text) {
    const area = find("#question textarea");
    const set = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set;
    set.call(area, text);
    area.dispatchEvent(new Event("input", { bubbles: true }));
    area.focus();
  }

  document.addEventListener("click", event => {
    const on = selector => event.target.closest(selector);
    let hit;
    if ((hit = on("button.span"))) playSpan(hit);
    else if ((hit = on(".clip .mel"))) seek(hit, event);
    else if ((hit = on(".prompts button"))) fill(hit.dataset.text);
    else if (on(".top button")) document.body.classList.toggle("dark");
  });

  // Media events do not bubble, so that they are caught on their way down.
  document.addEventListener("play", event => {
    const audio = event.target, line = find(".mel i", audio.closest(".clip") || document);
    if (!audio.closest(".clip")) return;
    for (const other of document.querySelectorAll(".clip audio")) if (other !== audio) other.pause();
    const step = () => {
      line.style.opacity = audio.currentTime > 0 ? .9 : 0;
      line.style.left = 100 * audio.currentTime / (audio.duration || 1) + "%";
      if (ends.has(audio) && audio.currentTime >= ends.get(audio)) audio.pause();
      if (!audio.paused) requestAnimationFrame(step);
    };
    step();
  }, true);
  document.addEventListener("pause", event => {
    if (!event.target.closest(".clip")) return;
    ends.delete(event.target);
    document.querySelectorAll("button.span.on").forEach(button => button.classList.remove("on"));
  }, true);
})();
