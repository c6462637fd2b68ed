// Tags, note and erratum of what is open. Each change shows at once and goes to the triage bar as an operation.

const HINT = "j k next, previous · space play · 1–9 tag · n note · u undo";
const shared = (window.__audioreasonTags ??= listen());
const views = new WeakMap();

function listen() {
  const state = { view: null };
  window.addEventListener("audioreason:tag", (event) => {
    if (!state.view?.node.isConnected) return;
    const found = state.view.data.labels.find(([, key]) => key === event.detail.key);
    if (found) state.view.toggle(found[0]);
  });
  window.addEventListener("audioreason:note", () => state.view?.node.isConnected && state.view.write());
  return state;
}

class View {
  constructor(node) {
    this.node = node;
    this.note = node.querySelector(".note");
    this.note.placeholder = "Note (n)";
    this.why = node.querySelector(".why");
    this.field(this.note, () => this.data.note, () => this.keepNote());
    this.field(this.why, () => this.data.why, () => this.keepWhy());
    for (const button of node.querySelectorAll(".marks button")) {
      button.addEventListener("mousedown", (event) => event.preventDefault());
      button.addEventListener("click", () => this.mark(button.dataset.kind));
    }
  }

  field(box, kept, keep) {
    box.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") { box.value = kept(); box.blur(); }
      else if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); box.blur(); }
    });
    box.addEventListener("blur", keep);
  }

  update(data) {
    const other = this.data && (this.data.item !== data.item || this.data.sample !== data.sample);
    const active = this.node.getRootNode().activeElement;
    if (other && active === this.note) this.keepNote();
    if (other && active === this.why) this.keepWhy();
    this.data = data;
    this.given = new Set(data.given);
    this.erratum = data.erratum;
    if (other || active !== this.note) this.note.value = data.note;
    if (other || active !== this.why) this.why.value = data.why;
    this.node.querySelector(".said").textContent = data.said || HINT;
    this.draw();
  }

  draw() {
    this.node.querySelector(".tags").replaceChildren(...this.data.labels.map(([name, key]) => {
      const button = document.createElement("button");
      button.type = "button";
      if (key) button.append(piece("key", key));
      button.append(document.createTextNode(name));
      button.setAttribute("aria-pressed", String(this.given.has(name)));
      button.addEventListener("mousedown", (event) => event.preventDefault());
      button.addEventListener("click", () => this.toggle(name));
      return button;
    }));
    for (const button of this.node.querySelectorAll(".marks button"))
      button.setAttribute("aria-pressed", String(button.dataset.kind === this.erratum));
    this.why.hidden = !this.erratum;
    this.why.placeholder = this.erratum === "wrong" ? "Why is the gold answer wrong?" : "What else could it be?";
  }

  toggle(name) {
    const on = !this.given.has(name);
    on ? this.given.add(name) : this.given.delete(name);
    this.draw();
    const { item, sample } = this.data;
    tell("audioreason:tagged", { item, sample, tagged: this.given.size > 0 });
    this.push({ do: "tag", tag: name, on });
  }

  mark(kind) {
    this.erratum = this.erratum === kind ? null : kind;
    this.draw();
    this.push({ do: "mark", kind: this.erratum, note: this.erratum ? this.why.value : "" });
  }

  write() { this.note.focus(); this.note.select(); }

  keepNote() {
    if (this.note.value === this.data.note) return;
    this.data = { ...this.data, note: this.note.value };
    this.push({ do: "note", text: this.note.value });
  }

  keepWhy() {
    if (!this.erratum || this.why.value === this.data.why) return;
    this.data = { ...this.data, why: this.why.value };
    this.push({ do: "mark", kind: this.erratum, note: this.why.value });
  }

  push(step) { tell("audioreason:triage", { ...step, item: this.data.item, sample: this.data.sample }); }
}

function piece(kind, text) {
  const node = document.createElement("span");
  node.className = kind;
  node.textContent = text;
  return node;
}

function tell(name, detail) { window.dispatchEvent(new CustomEvent(name, { detail })); }

export default function ({ parentElement, data }) {
  const node = parentElement.querySelector(".tagbar");
  if (!node || !data) return undefined;
  let view = views.get(parentElement);
  if (!view || view.node !== node) views.set(parentElement, (view = new View(node)));
  shared.view = view;
  view.update(data);
  return undefined;
}
