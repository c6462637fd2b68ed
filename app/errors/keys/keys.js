// The triage bar: owns the page's keyboard and the log of operations. Other components speak to it by the
// window event "audioreason:triage"; it tells them what is open by "audioreason:open".

const shared = (window.__audioreasonTriage ??= listen());
const bars = new WeakMap();
const TYPING = "input, textarea, select, [contenteditable], [role=combobox], [role=dialog]";

function listen() {
  const state = { bar: null, pageId: Math.random().toString(36).slice(2), number: 0, ahead: new Map() };
  window.addEventListener("keydown", (event) => {
    const bar = state.bar;
    if (!bar?.node.isConnected || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.composedPath()[0];
    if (target instanceof Element && target.closest(TYPING)) return;
    const done = bar.key(event.key);
    if (done) { event.preventDefault(); event.stopPropagation(); }
  });
  window.addEventListener("audioreason:triage", (event) => state.bar?.node.isConnected && state.bar.hear(event.detail));
  return state;
}

class Bar {
  constructor(node) {
    this.node = node;
    this.log = [];
    this.at = -1;
    this.find = (selector) => node.querySelector(selector);
    const click = (selector, act) => {
      this.find(selector).addEventListener("mousedown", (event) => event.preventDefault());
      this.find(selector).addEventListener("click", act);
    };
    click(".previous", () => this.step(-1));
    click(".next", () => this.step(1));
    click(".pin", () => {
      this.pinned = !this.pinned;
      this.refresh();
      this.push({ do: "pin", item: this.data.current[0], on: this.pinned });
    });
    click(".leave", () => this.push({ do: "leave", item: this.data.current[0] }));
    click(".autoplay", () => { keep("autoplay", this.autoplay ? "" : "yes"); this.refresh(); if (this.autoplay) this.play(); });
  }

  get autoplay() { return kept("autoplay") === "yes"; }

  update(data, send) {
    const opened = JSON.stringify(data.current) !== JSON.stringify(this.data?.current);
    this.data = data;
    this.send = send;
    this.pinned = data.pinned;
    this.log = this.log.filter((step) => step.number > (data.seen[shared.pageId] ?? 0));
    const waiting = this.log.some((step) => step.do === "open" || step.do === "page");
    if (!waiting) {
      this.at = data.places.findIndex(([item, sample]) => item === data.current?.[0] && sample === data.current?.[1]);
      if (this.at < 0) this.at = data.places.findIndex(([item]) => item === data.current?.[0]);
      if (data.current) tell("audioreason:open", { item: data.current[0], sample: data.current[1] });
    }
    this.refresh();
    if (opened && !waiting && this.autoplay) this.play();
    this.prefetch();
  }

  refresh() {
    const { data } = this;
    this.find(".id").textContent = this.find(".where").title = data.current?.[0] ?? "";
    this.find(".place").textContent = data.words;
    this.find(".previous").disabled = this.at <= 0 && !data.before;
    this.find(".next").disabled = (this.at < 0 || this.at >= data.places.length - 1) && !data.after;
    this.find(".autoplay").setAttribute("aria-pressed", String(this.autoplay));
    const pin = this.find(".pin");
    pin.disabled = !data.current;
    pin.textContent = this.pinned ? "Pinned" : "Pin";
    pin.setAttribute("aria-pressed", String(Boolean(this.pinned)));
    this.find(".leave").disabled = !data.leave;
    const chips = this.find(".chips");
    chips.hidden = data.chips.length < 2;
    chips.replaceChildren(...data.chips.map((chip) => this.chip(chip)));
  }

  chip(chip) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${chip.sample + 1} ${chip.text}`;
    button.title = `Sample ${chip.sample + 1}: ${chip.text}${chip.right === null ? "" : chip.right ? ", right" : ", wrong"}`;
    button.className = chip.right === null ? "" : chip.right ? "right" : "wrong";
    button.setAttribute("aria-pressed", String(chip.sample === this.data.current?.[1]));
    button.addEventListener("mousedown", (event) => event.preventDefault());
    button.addEventListener("click", () => this.open(this.data.current[0], chip.sample));
    return button;
  }

  key(name) {
    if (name === "j") return this.step(1), true;
    if (name === "k") return this.step(-1), true;
    if (name === "u") return this.push({ do: "undo" }), true;
    if (name === "n") return tell("audioreason:note", {}), true;
    if (/^[1-9]$/.test(name)) return tell("audioreason:tag", { key: Number(name) }), true;
    return false;
  }

  hear(detail) {
    if (detail.do === "open") this.open(detail.item, detail.sample);
    else this.push(detail);
  }

  step(by) {
    if (this.log.some((step) => step.do === "page")) return; // the next page is on its way
    const to = this.at + by, { places, before, after } = this.data;
    if (to >= 0 && to < places.length) return this.open(...places[to]);
    if (to < 0 ? before && this.at >= 0 : after) this.push({ do: "page", by });
  }

  open(item, sample) {
    this.at = this.data.places.findIndex(([other, number]) => other === item && number === sample);
    tell("audioreason:open", { item, sample });
    const near = this.data.near.find((one) => one.item === item);
    if (near && this.autoplay && item !== this.data.current?.[0]) this.play(near.id);
    this.push({ do: "open", item, sample });
  }

  push(step) {
    this.log.push({ ...step, number: ++shared.number, page_id: shared.pageId, session: this.data.session });
    this.send("log", this.log.slice(-60));
  }

  prefetch(tries = 120) {
    if (window.__audioreasonPlayers) this.data.near.forEach(ahead);
    else if (tries && this.node.isConnected) requestAnimationFrame(() => this.prefetch(tries - 1));
  }

  // the sound starts with the key; the picture and the text follow with the page
  play(item, tries = 90) {
    const id = item ?? this.data.clip, players = window.__audioreasonPlayers;
    const clip = players?.clips.get(id);
    if (clip && (clip.views.size || item)) {
      if (!clip.audio.paused) return;
      clip.seek(0);
      clip.play();
      if (item) setTimeout(() => { if (!clip.views.size) clip.audio.pause(); }, 4000);
    } else if (!item && id && tries && this.node.isConnected) {
      requestAnimationFrame(() => this.data.clip === id && this.play(undefined, tries - 1));
    }
  }
}

// the neighbours' sound and picture, so that the next item plays at once
function ahead({ id, clip, model, picture }) {
  if (shared.ahead.has(id)) return;
  const image = new Image();
  image.src = picture;
  shared.ahead.set(id, image);
  if (shared.ahead.size > 16) shared.ahead.delete(shared.ahead.keys().next().value);
  window.__audioreasonPlayers.prepare(id, { original: clip, model });
}

function tell(name, detail) { window.dispatchEvent(new CustomEvent(name, { detail })); }
function kept(name) { try { return localStorage.getItem(`audioreason:${name}`) ?? ""; } catch { return ""; } }
function keep(name, value) { try { localStorage.setItem(`audioreason:${name}`, value); } catch { /* a private window */ } }

export default function ({ parentElement, data, setStateValue }) {
  const node = parentElement.querySelector(".bar");
  if (!node || !data) return undefined;
  let bar = bars.get(parentElement);
  if (!bar || bar.node !== node) bars.set(parentElement, (bar = new Bar(node)));
  shared.bar = bar;
  bar.update(data, setStateValue);
  return undefined;
}
