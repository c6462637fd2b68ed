// Stacked bars of zones, one a round, with what guessing alone would give right under each.

export default function ({ parentElement, data, setTriggerValue }) {
  const box = parentElement.querySelector(".strips");
  if (!box || !data) return undefined;
  const key = JSON.stringify(data);
  if (box.dataset.shown === key) return undefined;
  box.dataset.shown = key;
  const nodes = [legend(data)];
  data.rows.forEach((row, i) => nodes.push(line(row, i, data, setTriggerValue)));
  nodes.push(axis());
  box.replaceChildren(...nodes);
  return undefined;
}

function legend(data) {
  const node = element("div", "key");
  const names = element("span", "names");
  data.zones.forEach((zone, k) => {
    const name = element("span", kind(k, data));
    name.append(element("i", ""), zone);
    names.append(name);
  });
  node.append(element("span", ""), names);
  return node;
}

function line(row, i, data, pick) {
  const total = row.counts.reduce((sum, count) => sum + count, 0);
  const node = element("div", `row ${row.current ? "current" : ""}`);
  node.setAttribute("role", "row");
  const bar = element("div", "bar");
  row.counts.forEach((count, k) => {
    if (!count) return;
    const share = count / total;
    const words = `${row.label}, ${data.zones[k]}: ${count.toLocaleString("en")} of ${total.toLocaleString("en")}, ${percent(share)}`
      + (row.guess ? `; by guessing alone ${percent(row.guess[k])}` : "");
    bar.append(part(share, k, data, words, data.clickable ? () => pick("picked", { row: i, zone: k }) : null));
  });
  node.append(element("span", "label main", row.label), bar);
  if (row.guess) {
    const guess = element("div", "bar guess");
    row.guess.forEach((share, k) => {
      if (share > 0.0005) guess.append(part(share, k, data, `by guessing alone, ${data.zones[k]}: ${percent(share)}`, null, true));
    });
    node.append(element("span", "label guess", "by guessing"), guess);
  }
  if (row.note) node.append(element("span", "note", row.note));
  return node;
}

function part(share, k, data, words, pressed, bare = false) {
  const node = element(pressed ? "button" : "div", `part ${kind(k, data)}`, !bare && share > 0.06 ? percent(share) : "");
  node.style.width = `${100 * share}%`;
  node.title = words;
  node.setAttribute("aria-label", words);
  if (pressed) {
    node.type = "button";
    node.addEventListener("click", pressed);
  }
  return node;
}

function axis() {
  const node = element("div", "axis");
  const ticks = element("span", "ticks");
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const tick = element("span", "", share === 1 ? "100% of problems" : `${100 * share}%`);
    tick.style.left = `${100 * share}%`;
    ticks.append(tick);
  }
  node.append(element("span", ""), ticks);
  return node;
}

function kind(k, data) { return `z${k} ${k === data.accent ? "accent" : ""}`; }
function percent(share) { return `${(100 * share).toFixed(1)}%`; }

function element(name, kind, text = "") {
  const node = document.createElement(name);
  node.className = kind.trim();
  node.textContent = text;
  return node;
}
