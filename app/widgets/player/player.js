// The lab's player: one audio element per clip, kept for the whole page so that reruns never stop the sound.
// Draws from numbers (peaks) and one grey picture (mel); never decodes audio and never builds HTML from data.

const SPEEDS = [0.5, 0.75, 1, 1.5, 2];
const SIZES = { large: [96, 40], medium: [72, 32], small: [64, 30] };
const TICKS = 14; // px of the time axis
const NARROW = 430; // px below which the speeds fold into one button
const KEPT = 24; // audio elements kept for clips that are not on the page

const shared = (window.__audioreasonPlayers ??= makeShared());

function makeShared() {
  const state = { clips: new Map(), recent: null, context: null };
  // a page that knows what comes next has its sound ready before its player is drawn
  state.prepare = (id, urls) => {
    const clip = Clip.of(id);
    clip.audio.preload = "auto";
    clip.load(urls);
    return clip;
  };
  // times in traces are buttons anywhere on the page: they find their clip by id
  window.addEventListener("audioreason:seek", (event) => {
    const clip = state.clips.get(event.detail.id);
    if (!clip || !clip.views.size) return;
    clip.loop = event.detail.end > event.detail.time ? [event.detail.time, event.detail.end] : null;
    clip.seek(event.detail.time);
    clip.play();
  });
  // space plays or pauses the last used player, unless something that takes keys has the focus
  window.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.composedPath()[0];
    if (target instanceof Element && target.closest(
      "input, textarea, select, button, a, [contenteditable], [role=slider], [role=tab], [role=option], [role=grid]")) return;
    const clip = state.recent?.views.size ? state.recent : [...state.clips.values()].find((c) => c.views.size);
    if (!clip) return;
    event.preventDefault();
    clip.toggle();
  });
  return state;
}

class Clip {
  constructor(id) {
    this.id = id;
    this.views = new Set();
    this.urls = {};
    this.form = "original";
    this.loop = null;
    this.problem = "";
    this.seconds = 0;
    this.peak = 1;
    this.normalise = false;
    this.audio = new Audio();
    this.audio.preload = "metadata";
    this.audio.preservesPitch = true;
    this.audio.addEventListener("play", () => {
      shared.recent = this;
      for (const other of shared.clips.values()) if (other !== this) other.audio.pause();
      this.tick();
    });
    for (const name of ["play", "pause", "seeked", "ratechange", "loadedmetadata", "ended", "timeupdate"])
      this.audio.addEventListener(name, () => { this.keepLoop(); this.redraw(); });
    this.audio.addEventListener("playing", () => { this.problem = ""; this.redraw(); });
    this.audio.addEventListener("error", () => this.explain());
  }

  static of(id) {
    let clip = shared.clips.get(id);
    if (!clip) {
      clip = new Clip(id);
      for (const [key, old] of shared.clips) {
        if (shared.clips.size < KEPT) break;
        if (!old.views.size) { old.audio.removeAttribute("src"); old.audio.load(); shared.clips.delete(key); }
      }
      shared.clips.set(id, clip);
    }
    return clip;
  }

  load(urls) {
    const wanted = urls[this.form] ?? urls.original;
    this.urls = urls;
    if (wanted && this.source !== wanted) this.change(wanted);
  }

  change(url) {
    const at = this.audio.currentTime, playing = !this.audio.paused, rate = this.audio.playbackRate;
    this.source = url;
    this.problem = "";
    this.audio.src = url;
    this.audio.defaultPlaybackRate = this.audio.playbackRate = rate;
    if (at > 0) this.audio.addEventListener("loadedmetadata", () => { this.audio.currentTime = at; }, { once: true });
    if (playing) this.play();
  }

  show(form) {
    this.form = form;
    this.load(this.urls);
    this.redraw();
  }

  play() {
    if (shared.context?.state === "suspended") shared.context.resume();
    this.audio.play().catch((error) => { if (error.name === "NotAllowedError") this.redraw(); });
  }

  toggle() { this.audio.paused ? this.play() : this.audio.pause(); }

  seek(time) {
    this.audio.currentTime = Math.max(0, Math.min(time, (this.audio.duration || this.seconds) - 0.001));
    this.redraw();
  }

  setLoop(loop) {
    this.loop = loop;
    if (loop && (this.audio.currentTime < loop[0] || this.audio.currentTime > loop[1])) this.seek(loop[0]);
    this.redraw();
  }

  keepLoop() {
    if (!this.loop || this.audio.seeking) return;
    if (this.audio.ended || (!this.audio.paused && this.audio.currentTime >= this.loop[1])) {
      this.audio.currentTime = this.loop[0];
      if (this.audio.ended || this.audio.paused) this.play();
    }
  }

  speed(rate) { this.audio.defaultPlaybackRate = this.audio.playbackRate = rate; }

  setNormalise(on) {
    this.normalise = on;
    if (on && !this.gain) { // a gain node only where it is asked for: most clips never leave the plain element
      shared.context ??= new AudioContext();
      this.gain = shared.context.createGain();
      shared.context.createMediaElementSource(this.audio).connect(this.gain).connect(shared.context.destination);
    }
    if (this.gain) this.gain.gain.value = on ? Math.min(20, 0.95 / Math.max(this.peak, 0.01)) : 1;
    if (shared.context?.state === "suspended") shared.context.resume();
    this.redraw();
  }

  async explain() {
    if (!this.source) return;
    let sentence = "The browser cannot play this clip. Try 16k, the form the model hears.";
    try {
      const answer = await fetch(this.source, { headers: { Range: "bytes=0-0" } });
      if (!answer.ok) sentence = (await answer.text()) || sentence;
    } catch { sentence = "The clip could not be fetched: the lab does not answer."; }
    this.problem = sentence;
    this.redraw();
  }

  tick() {
    if (this.ticking) return;
    this.ticking = true;
    const frame = () => {
      this.keepLoop();
      for (const view of this.views) view.drawOverlay();
      if (this.audio.paused || !this.views.size) this.ticking = false;
      else requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  redraw() { for (const view of this.views) view.refresh(); }

  drop(view) {
    this.views.delete(view);
    // a rerun may remount the node in a moment; only a clip that stays off the page falls silent
    setTimeout(() => { if (!this.views.size) this.audio.pause(); }, 600);
  }
}

class View {
  constructor(root) {
    this.root = root;
    this.node = root.querySelector(".player");
    this.find = (selector) => this.node.querySelector(selector);
    this.stage = this.find(".stage");
    this.base = this.find(".base");
    this.overlay = this.find(".overlay");
    this.window = null; // [from, to] in seconds while zoomed
    this.mel = true;
    this.hover = null;
    this.buildSpeeds();
    this.listen();
    this.observer = new ResizeObserver(() => this.layout());
    this.observer.observe(this.node);
  }

  buildSpeeds() {
    for (const rate of SPEEDS) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${rate}×`;
      button.dataset.rate = rate;
      button.addEventListener("click", () => this.clip.speed(rate));
      this.find(".speeds").append(button);
    }
    this.find(".speed").addEventListener("click", () => {
      const order = [1, 1.5, 2, 0.5, 0.75];
      this.clip.speed(order[(order.indexOf(this.clip.audio.playbackRate) + 1) % order.length]);
    });
  }

  listen() {
    this.find(".play").addEventListener("click", () => this.clip.toggle());
    this.find(".loop").addEventListener("click", () => this.clip.setLoop(null));
    this.find(".norm").addEventListener("click", () => { this.clip.setNormalise(!this.clip.normalise); this.drawBase(); });
    this.find(".model").addEventListener("click", () => this.clip.show(this.clip.form === "model" ? "original" : "model"));
    this.find(".mel").addEventListener("click", () => { this.mel = !this.mel; this.layout(); });
    this.stage.addEventListener("pointerdown", (event) => this.drag(event));
    this.stage.addEventListener("pointermove", (event) => { this.hover = this.timeAt(event); this.drawOverlay(); });
    this.stage.addEventListener("pointerleave", () => { this.hover = null; this.drawOverlay(); });
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.stage.addEventListener("dblclick", () => { this.window = null; this.clip.setLoop(null); this.drawBase(); });
    this.node.addEventListener("keydown", (event) => this.key(event));
  }

  update(data) {
    const first = !this.data || this.data.id !== data.id;
    this.data = data;
    if (first) {
      this.clip?.drop(this);
      this.clip = Clip.of(data.id);
      this.window = null;
    }
    this.clip.views.add(this);
    this.clip.seconds = data.seconds;
    this.clip.peak = data.peak;
    if (data.clip) this.clip.load({ original: data.clip, model: data.model });
    this.peaks = data.peaks ? Int8Array.from(atob(data.peaks), (c) => c.charCodeAt(0)) : null;
    this.node.setAttribute("aria-label", `Audio player, ${data.seconds.toFixed(1)} seconds`);
    this.stage.setAttribute("aria-valuemax", data.seconds.toFixed(2));
    for (const button of this.node.querySelectorAll("button")) button.disabled = !data.clip;
    if (!this.clip.audio.paused) this.clip.tick(); // it was started before it had a view
    if (first || this.picture?.src !== data.spectrogram) this.fetchPicture(data.spectrogram);
    this.layout();
  }

  fetchPicture(url) {
    this.grey = null;
    this.picture = null;
    if (!url) return;
    const image = new Image();
    this.picture = { src: url, image };
    image.onload = () => {
      if (this.picture?.image !== image) return;
      const canvas = new OffscreenCanvas(image.width, image.height);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      this.grey = context.getImageData(0, 0, image.width, image.height);
      this.coloured = null;
      this.drawBase();
    };
    image.src = url;
  }

  layout() {
    const width = this.stage.clientWidth;
    if (!width || !this.data) return;
    const [mel, wave] = SIZES[this.data.size] ?? SIZES.large;
    this.melHeight = this.mel ? mel : 0;
    this.waveHeight = this.mel ? wave : wave + Math.round(mel / 3);
    this.width = width;
    this.height = this.melHeight + this.waveHeight + TICKS;
    this.stage.style.height = `${this.height}px`;
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.base, this.overlay]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(this.height * ratio);
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.drawBase();
    this.refresh();
  }

  colour(name) { return getComputedStyle(this.node).getPropertyValue(`--st-${name}`).trim(); }

  get span() { return this.window ?? [0, this.data.seconds || 1]; }
  x(time) { const [from, to] = this.span; return ((time - from) / (to - from)) * this.width; }
  timeAt(event) {
    const [from, to] = this.span;
    const share = (event.clientX - this.stage.getBoundingClientRect().left) / this.width;
    return Math.max(0, Math.min(this.data.seconds, from + share * (to - from)));
  }

  drawBase() {
    if (!this.width || !this.data) return;
    const context = this.base.getContext("2d");
    context.clearRect(0, 0, this.width, this.height);
    if (this.melHeight) this.drawMel(context);
    if (this.peaks) this.drawWave(context);
    this.drawTicks(context);
    this.drawOverlay();
  }

  drawMel(context) {
    const stops = [this.colour("background-color"), ...this.colour("chart-sequential-colors").split(",")].map(rgb);
    const key = stops.join();
    if (this.grey && (!this.coloured || this.colouredKey !== key)) {
      const table = Array.from({ length: 256 }, (_, level) => ramp(stops, level / 255));
      const image = new ImageData(this.grey.width, this.grey.height);
      for (let i = 0; i < image.data.length; i += 4) {
        const [r, g, b] = table[this.grey.data[i]];
        image.data[i] = r; image.data[i + 1] = g; image.data[i + 2] = b; image.data[i + 3] = 255;
      }
      this.coloured = new OffscreenCanvas(this.grey.width, this.grey.height);
      this.coloured.getContext("2d").putImageData(image, 0, 0);
      this.colouredKey = key;
    }
    if (this.coloured) {
      const [from, to] = this.span, scale = this.coloured.width / (this.data.seconds || 1);
      context.imageSmoothingQuality = "high";
      context.drawImage(this.coloured, from * scale, 0, Math.max(1, (to - from) * scale), this.coloured.height,
        0, 0, this.width, this.melHeight);
    }
    context.fillStyle = this.colour("border-color");
    context.fillRect(0, this.melHeight, this.width, 1);
  }

  drawWave(context) {
    const middle = this.melHeight + this.waveHeight / 2 + 1, pairs = this.peaks.length / 2;
    const gain = this.clip.normalise ? 1 : Math.min(1, Math.max(this.data.peak, 0.02) / 0.8);
    const reach = ((this.waveHeight / 2 - 2) / 127) * gain;
    const [from, to] = this.span, seconds = this.data.seconds || 1;
    context.fillStyle = this.colour("gray-color");
    context.globalAlpha = 0.8;
    for (let x = 0; x < this.width; x++) {
      const first = Math.floor(((from + (x / this.width) * (to - from)) / seconds) * pairs);
      const last = Math.max(first + 1, Math.floor(((from + ((x + 1) / this.width) * (to - from)) / seconds) * pairs));
      let low = 0, high = 0;
      for (let i = first; i < Math.min(last, pairs); i++) {
        low = Math.min(low, this.peaks[2 * i]);
        high = Math.max(high, this.peaks[2 * i + 1]);
      }
      context.fillRect(x, middle - high * reach - 0.35, 1, (high - low) * reach + 0.7);
    }
    context.globalAlpha = 1;
  }

  drawTicks(context) {
    const [from, to] = this.span, step = niceStep((to - from) / Math.max(2, this.width / 75));
    context.font = `11px ${this.colour("code-font")}`;
    context.textBaseline = "bottom";
    for (let k = Math.ceil(from / step); k * step <= to; k++) {
      const time = k * step, x = this.x(time), label = axisLabel(time, step);
      const wide = context.measureText(label).width;
      if (x + 4 + wide > this.width) continue;
      context.fillStyle = this.colour("border-color");
      context.fillRect(Math.round(x), this.height - TICKS, 1, 4);
      context.fillStyle = this.colour("gray-text-color");
      context.fillText(label, x + 4, this.height);
    }
  }

  drawOverlay() {
    if (!this.width || !this.data) return;
    const context = this.overlay.getContext("2d"), body = this.height - TICKS;
    const accent = this.colour("primary-color"), at = this.clip.audio.currentTime;
    context.clearRect(0, 0, this.width, this.height);
    const loop = this.selecting ?? this.clip.loop;
    if (loop) {
      const [a, b] = loop.map((time) => this.x(time));
      context.fillStyle = accent;
      context.globalAlpha = 0.13;
      context.fillRect(a, 0, b - a, body);
      context.globalAlpha = 0.8;
      context.fillRect(a, 0, 1, body);
      context.fillRect(b - 1, 0, 1, body);
      context.globalAlpha = 1;
    }
    this.drawCues(context);
    if (this.hover !== null) {
      context.fillStyle = this.colour("gray-color");
      context.globalAlpha = 0.5;
      context.fillRect(Math.round(this.x(this.hover)), 0, 1, body);
      context.globalAlpha = 1;
      this.tag(context, this.hover.toFixed(2), this.x(this.hover), this.height - TICKS - 3);
    }
    if (this.data.clip) {
      context.fillStyle = accent;
      context.fillRect(Math.min(this.width - 1, Math.round(this.x(at))), 0, 1, body + 3);
    }
    this.find(".now").textContent = at.toFixed(2).padStart(5, "0");
    this.stage.setAttribute("aria-valuenow", at.toFixed(2));
    this.stage.setAttribute("aria-valuetext", `${at.toFixed(1)} of ${this.data.seconds.toFixed(1)} seconds`);
  }

  drawCues(context) {
    const colours = { right: this.colour("green-text-color"), wrong: this.colour("red-text-color") };
    let named = null;
    for (const cue of this.data.cues ?? []) {
      const a = this.x(cue.start), b = this.x(Math.max(cue.end, cue.start));
      if (b < 0 || a > this.width) continue;
      context.fillStyle = colours[cue.tone] ?? this.colour("gray-color");
      context.fillRect(a, 0, Math.max(3, b - a - 1), 3);
      if (this.hover !== null && this.hover >= cue.start && this.hover <= cue.end) named = cue;
    }
    if (named) this.tag(context, named.label, this.x(named.start), 6, "top");
  }

  tag(context, text, x, y, side = "bottom") {
    context.font = `11px ${this.colour("font")}`;
    context.textBaseline = "middle";
    const wide = context.measureText(text).width + 8, left = Math.max(1, Math.min(this.width - wide - 1, x + 4));
    const top = side === "top" ? y : y - 15;
    context.fillStyle = this.colour("background-color");
    context.globalAlpha = 0.9;
    context.fillRect(left, top, wide, 15);
    context.globalAlpha = 1;
    context.fillStyle = this.colour("text-color");
    context.fillText(text, left + 4, top + 8);
  }

  refresh() {
    if (!this.data) return;
    const { audio, loop, form, normalise } = this.clip, rate = audio.playbackRate;
    this.node.classList.toggle("playing", !audio.paused);
    this.find(".play").setAttribute("aria-label", audio.paused ? "Play" : "Pause");
    this.find(".total").textContent = `/ ${this.data.seconds.toFixed(2).padStart(5, "0")}`;
    this.find(".speed").textContent = `${rate}×`;
    for (const button of this.node.querySelectorAll(".speeds button"))
      button.setAttribute("aria-pressed", Number(button.dataset.rate) === rate);
    this.find(".speed").setAttribute("aria-pressed", rate !== 1);
    this.find(".norm").setAttribute("aria-pressed", normalise);
    this.find(".model").setAttribute("aria-pressed", form === "model");
    this.find(".mel").setAttribute("aria-pressed", this.mel);
    this.node.classList.toggle("narrow", this.width < (loop ? NARROW + 130 : NARROW));
    const label = this.find(".loop");
    label.hidden = !loop;
    if (loop) label.textContent = `↻ ${loop[0].toFixed(2)}–${loop[1].toFixed(2)}`;
    const problem = this.data.problem || this.clip.problem, line = this.find(".problem");
    line.hidden = !problem;
    line.textContent = problem;
    this.drawOverlay();
  }

  drag(event) {
    if (event.button !== 0 || !this.data.clip) return;
    this.stage.focus({ preventScroll: true });
    this.stage.setPointerCapture(event.pointerId);
    const from = this.timeAt(event), startX = event.clientX;
    const move = (e) => {
      if (Math.abs(e.clientX - startX) < 4) return;
      const to = this.timeAt(e);
      this.selecting = [Math.min(from, to), Math.max(from, to)];
    };
    const up = () => {
      this.stage.removeEventListener("pointermove", move);
      const chosen = this.selecting;
      this.selecting = null;
      if (chosen && chosen[1] - chosen[0] > 0.03) { this.clip.setLoop(chosen); this.clip.seek(chosen[0]); }
      else { this.clip.loop = within(this.clip.loop, from) ? this.clip.loop : null; this.clip.seek(from); }
    };
    this.stage.addEventListener("pointermove", move);
    this.stage.addEventListener("pointerup", up, { once: true });
  }

  wheel(event) {
    const [from, to] = this.span, length = to - from;
    if (event.ctrlKey || event.metaKey || event.altKey) {
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? 0.8 : 1.25, this.timeAt(event));
    } else if (this.window && (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))) {
      event.preventDefault();
      this.pan(((event.deltaX || event.deltaY) / this.width) * length);
    }
  }

  zoom(factor, around) {
    const [from, to] = this.span, seconds = this.data.seconds;
    const length = Math.max(0.2, (to - from) * factor);
    if (length >= seconds) this.window = null;
    else {
      const start = Math.max(0, Math.min(seconds - length, around - ((around - from) / (to - from)) * length));
      this.window = [start, start + length];
    }
    this.drawBase();
  }

  pan(by) {
    const [from, to] = this.window, shift = Math.max(-from, Math.min(this.data.seconds - to, by));
    this.window = [from + shift, to + shift];
    this.drawBase();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.data.clip) return;
    const inButton = event.composedPath()[0] instanceof HTMLButtonElement;
    const { clip } = this, step = event.shiftKey ? 2 : 0.25;
    const actions = {
      " ": () => clip.toggle(),
      ArrowLeft: () => clip.seek(clip.audio.currentTime - step),
      ArrowRight: () => clip.seek(clip.audio.currentTime + step),
      Home: () => clip.seek(0),
      End: () => clip.seek(this.data.seconds),
      "+": () => this.zoom(0.6, clip.audio.currentTime),
      "=": () => this.zoom(0.6, clip.audio.currentTime),
      "-": () => this.zoom(1 / 0.6, clip.audio.currentTime),
      Escape: () => { if (clip.loop) clip.setLoop(null); else { this.window = null; this.drawBase(); } },
    };
    if (!(event.key in actions) || (inButton && event.key === " ")) return;
    event.preventDefault();
    event.stopPropagation();
    actions[event.key]();
  }

  leave() {
    this.observer.disconnect();
    this.clip?.drop(this);
  }
}

function within(loop, time) { return loop && time >= loop[0] && time <= loop[1]; }

function niceStep(raw) {
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].find((k) => k * power >= raw) * power;
}

function axisLabel(time, step) {
  if (step >= 1 && time >= 60) return `${Math.floor(time / 60)}:${String(Math.round(time % 60)).padStart(2, "0")}`;
  return time.toFixed(step >= 1 ? 0 : step >= 0.1 ? 1 : 2);
}

function rgb(text) {
  const hex = text.trim().replace("#", "");
  return [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

function ramp(stops, share) {
  const place = share * (stops.length - 1), i = Math.min(stops.length - 2, Math.floor(place)), t = place - i;
  return stops[i].map((value, k) => Math.round(value + (stops[i + 1][k] - value) * t));
}

const views = new WeakMap();

export default function ({ parentElement, data }) {
  let view = views.get(parentElement);
  const node = parentElement.querySelector(".player");
  if (!node || !data) return undefined;
  if (!view || view.node !== node) {
    view?.leave();
    view = new View(parentElement);
    views.set(parentElement, view);
  }
  view.update(data);
  return () => { if (views.get(parentElement) === view) { views.delete(parentElement); view.leave(); } };
}
