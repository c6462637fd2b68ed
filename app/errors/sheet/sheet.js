// One page of predictions. A click asks the triage bar to open the item; the mark follows what is open.

const sheets = new Set();

window.addEventListener("audioreason:open", (event) => {
  for (const box of sheets) if (box.isConnected) mark(box, event.detail); else sheets.delete(box);
});
window.addEventListener("audioreason:tagged", (event) => {
  for (const box of sheets) {
    const row = find(box, event.detail);
    if (row) row.classList.toggle("tagged", event.detail.tagged);
  }
});

export default function ({ parentElement, data }) {
  const box = parentElement.querySelector(".sheet");
  if (!box || !data) return undefined;
  sheets.add(box);
  const key = JSON.stringify(data.lines) + data.more;
  box.style.height = `${data.height}px`;
  if (box.dataset.shown !== key) {
    box.dataset.shown = key;
    box.classList.toggle("plain", !data.more);
    box.querySelector(".head").replaceChildren(
      ...["Question", "Given", "Gold", data.more].map((name) => cell(name, "columnheader")));
    box.querySelector(".list").replaceChildren(...data.lines.map(row));
    box.scrollTop = 0;
  }
  if (data.current) mark(box, { item: data.current[0], sample: data.current[1] });
  return undefined;
}

function row(line) {
  const node = document.createElement("button");
  node.type = "button";
  node.className = `row ${line.tagged ? "tagged" : ""}`;
  node.dataset.item = line.item;
  node.dataset.sample = line.sample;
  const [question, given, gold, more] = line.cells;
  node.append(cell(question, "cell"), cell(given, "cell", line.tone), cell(gold, "cell"), cell(more, "cell", "number"));
  node.addEventListener("mousedown", (event) => event.preventDefault()); // the keyboard stays with the page
  node.addEventListener("click", () => {
    let active = document.activeElement;
    while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
    if (active !== node) active?.blur?.();
    window.dispatchEvent(new CustomEvent("audioreason:triage", {
      detail: { do: "open", item: line.item, sample: line.sample },
    }));
  });
  return node;
}

function cell(text, role, tone = "") {
  const node = document.createElement("div");
  node.className = `cell ${tone}`;
  node.setAttribute("role", role);
  node.textContent = node.title = text;
  return node;
}

function find(box, { item, sample }) {
  return [...box.querySelectorAll(".row")].find(
    (row) => row.dataset.item === item && Number(row.dataset.sample) === sample);
}

function mark(box, where) {
  const now = find(box, where);
  for (const row of box.querySelectorAll(".current")) if (row !== now) row.classList.remove("current");
  if (!now || now.classList.contains("current")) return;
  now.classList.add("current");
  const top = now.offsetTop - 34, bottom = now.offsetTop + now.offsetHeight;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
}
