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
    column.title = `${right} of ${k} right: ${count.toLocaleString("en")} ${count === 1 ? "problem" : "problems"}; by guessing alone ${data.guess[right].toFixed(1)}`;
    const height = (room * count) / most, line = (room * data.guess[right]) / most;
    if (count) {
      const label = element("span", "count", count.toLocaleString("en"));
      // a stroke that would cross the number lifts it
      if (line > height - 2 && line < height + 14) label.style.paddingBottom = `${line - height + 4}px`;
      column.append(label);
    }
    const bar = element("div", `bar z${data.zones[right]} ${data.zones[right] === data.accent ? "accent" : ""}`);
    bar.style.height = `${height}px`;
    const guess = element("span", "guess");
    guess.style.bottom = `${line}px`;
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
