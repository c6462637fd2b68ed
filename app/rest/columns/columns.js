// Columns 0..k with a stroke where guessing alone would end.

export default function ({ parentElement, data }) {
  const box = parentElement.querySelector(".columns");
  if (!box || !data) return undefined;
  const key = JSON.stringify(data);
  if (box.dataset.shown === key) return undefined;
  box.dataset.shown = key;
  const most = Math.max(1, ...data.counts, ...data.guess);
  const k = data.counts.length - 1;
  const plot = element("div", "plot"), axis = element("div", "axis");
  plot.style.height = `${data.height}px`;
  const room = data.height - 16; // for the count over the highest column
  data.counts.forEach((count, right) => {
    const column = element("div", "column");
    column.title = `${right} of ${k} right: ${count.toLocaleString("en")} problems; by guessing alone ${data.guess[right].toFixed(1)}`;
    if (count) column.append(element("span", "count", count.toLocaleString("en")));
    const bar = element("div", `bar z${data.zones[right]} ${data.zones[right] === data.accent ? "accent" : ""}`);
    bar.style.height = `${(room * count) / most}px`;
    const guess = element("span", "guess");
    guess.style.bottom = `${(room * data.guess[right]) / most}px`;
    column.append(bar, guess);
    plot.append(column);
    axis.append(element("span", "", String(right)));
  });
  const top = element("div", "top"), mark = element("span", "");
  mark.append(element("b", ""), "if every problem were guessed");
  top.append(element("span", "", "problems"), mark);
  box.setAttribute("aria-label", `Problems by right answers: ${data.counts.join(", ")}`);
  box.replaceChildren(top, plot, axis, element("div", "title", `right answers of ${k}`));
  return undefined;
}

function element(name, kind, text = "") {
  const node = document.createElement(name);
  node.className = kind.trim();
  node.textContent = text;
  return node;
}
