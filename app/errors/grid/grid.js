// Dots with intervals, one row a group, and a heat map on the same rows. Every row and cell is a button.

export default function ({ parentElement, data, setTriggerValue }) {
  const box = parentElement.querySelector(".grid");
  if (!box || !data) return undefined;
  const key = JSON.stringify(data);
  if (box.dataset.shown === key) return undefined;
  box.dataset.shown = key;
  box.className = `grid ${data.mini ? "mini" : ""} ${data.dots ? "" : "heat-only"}`;
  box.style.setProperty("--cells", data.columns.length);
  if (data.label) box.style.setProperty("--label", `${data.label}px`);
  box.style.maxHeight = data.height ? `${data.height}px` : "";
  box.classList.toggle("with-cells", data.columns.length > 0);
  // a group of one item is all or nothing: where there are larger ones, they set the scale
  const large = data.rows.filter((row) => !row.small);
  const mixed = large.length > 0 && large.length < data.rows.length;
  const most = Math.max(0.0001, ...(mixed ? large : data.rows).flatMap(
    (row) => row.counts.map((count) => count / Math.max(1, row.of))));
  const nodes = data.title ? [head(data)] : [];
  let layer = null;
  data.rows.forEach((row, i) => {
    if (row.layer !== layer && row.layer) {
      const heading = element("div", "row layer");
      heading.append(element("span", "label", row.layer), data.dots ? plot(null, data) : "");
      nodes.push(heading);
    }
    layer = row.layer;
    nodes.push(line(row, i, data, mixed && row.small && data.dots ? 2.5 * most : most, setTriggerValue));
  });
  nodes.push(axis(data));
  box.replaceChildren(...nodes);
  return undefined;
}

function line(row, i, data, most, pick) {
  const node = element("div", `row ${row.chosen ? "chosen" : ""} ${row.small ? "small" : ""}`);
  node.setAttribute("role", "row");
  const main = element("button", "main");
  main.type = "button";
  main.title = words(row, data);
  main.setAttribute("aria-label", main.title);
  main.disabled = !data.clickable;
  main.setAttribute("aria-pressed", String(Boolean(row.chosen)));
  main.append(element("span", "label", row.label));
  if (data.dots) {
    main.append(plot(row, data));
    if (!data.mini) main.append(element("span", "value", row.value === null ? "" : `${(100 * row.value).toFixed(1)}%`));
  }
  main.append(element("span", "n", row.n.toLocaleString("en")));
  main.addEventListener("mousedown", (event) => event.preventDefault());
  main.addEventListener("click", () => pick("picked", { row: i }));
  node.append(main);
  row.counts.forEach((count, k) => {
    const made = cell(count, row, i, k, data, most, pick);
    made.style.gridColumn = heatColumn(data, k);
    node.append(made);
  });
  return node;
}

function cell(count, row, i, k, data, most, pick) {
  if (!count) return element("span", "cell none");
  const share = count / Math.max(1, row.of);
  const node = element("button", `cell ${share / most > 0.62 ? "deep" : ""}`, count.toLocaleString("en"));
  node.type = "button";
  node.disabled = !data.clickable;
  node.style.setProperty("--share", `${Math.round(6 + 80 * Math.min(1, share / most))}%`);
  node.title = `${row.label}, ${data.columns[k]}: ${count} of ${row.of}, ${(100 * share).toFixed(0)}%`;
  node.setAttribute("aria-label", node.title);
  node.addEventListener("mousedown", (event) => event.preventDefault());
  node.addEventListener("click", () => pick("picked", { row: i, column: k }));
  return node;
}

function plot(row, data) {
  const node = element("span", "plot");
  if (data.overall !== null) node.append(place("overall", data.overall));
  if (row && row.value !== null) {
    const interval = place("interval", row.low);
    interval.style.width = `${100 * (row.high - row.low)}%`;
    node.append(interval);
    if (row.mark !== null) node.append(place("compared", row.mark));
    node.append(place("dot", row.value));
  }
  return node;
}

function place(kind, share) {
  const node = element("span", kind);
  node.style.left = `${100 * share}%`;
  return node;
}

function head(data) {
  const node = element("div", "row head");
  const title = element("span", "title", data.title);
  const heat = element("span", "title heat", data.columns.length ? data.heat : "");
  heat.style.gridColumn = `${heatColumn(data, 0)} / -1`;
  title.style.gridColumn = `1 / ${heatColumn(data, 0)}`;
  node.append(title, heat);
  return node;
}

function axis(data) {
  const node = element("div", "row axis");
  node.append(element("span", "label", ""));
  if (data.dots) {
    const ticks = element("span", "ticks");
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      const tick = place("tick", share);
      tick.textContent = `${100 * share}%`;
      ticks.append(tick);
    }
    node.append(ticks);
    if (!data.mini) node.append(element("span", "value", ""));
  }
  node.append(element("span", "n", ""));
  data.columns.forEach((name, k) => {
    const label = element("span", "column", name);
    label.title = name;
    label.style.gridColumn = heatColumn(data, k);
    node.append(label);
  });
  return node;
}

// behind label, plot, percentage, items and a gap
function heatColumn(data, k) { return (data.dots ? (data.mini ? 5 : 6) : 4) + k; }

function words(row, data) {
  const items = `${row.n.toLocaleString("en")} ${data.unit}${row.n === 1 ? "" : "s"}`;
  if (row.value === null) return `${row.label}: ${items}`;
  const percent = (share) => (100 * share).toFixed(1);
  return `${row.label}: ${percent(row.value)}%, 95% interval ${percent(row.low)} to ${percent(row.high)}, ${items}`;
}

function element(name, kind, text = "") {
  const node = document.createElement(name);
  node.className = kind.trim();
  node.textContent = text;
  return node;
}
