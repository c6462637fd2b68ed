// Counts of choices as bars; the axis is the number of samples asked for, so bars grow as answers come.

export default function ({ parentElement, data }) {
  const box = parentElement.querySelector(".bars");
  if (!box || !data) return undefined;
  while (box.children.length > data.rows.length) box.lastElementChild.remove();
  data.rows.forEach((row, i) => {
    const node = box.children[i] ?? box.appendChild(build());
    node.className = `row ${row.kind}`;
    const [label, track] = node.children;
    label.textContent = label.title = row.label;
    track.children[0].style.width = `${(88 * row.count) / Math.max(1, data.total)}%`;
    track.children[1].textContent = row.count;
  });
  return undefined;
}

function build() {
  const node = element("div", "row"), track = element("div", "track");
  track.append(element("div", "bar"), element("span", "count"));
  node.append(element("div", "label"), track);
  return node;
}

function element(name, kind) {
  const node = document.createElement(name);
  node.className = kind;
  return node;
}
