// Rounds side by side. Text by textContent alone; the head of a column is a button.

export default function ({ parentElement, data, setTriggerValue }) {
  const box = parentElement.querySelector(".ledger");
  if (!box || !data) return undefined;
  const key = JSON.stringify(data);
  if (box.dataset.shown === key) return undefined;
  box.dataset.shown = key;
  box.style.setProperty("--columns", data.heads.length);
  const top = element("div", "row heads");
  top.setAttribute("role", "row");
  top.append(element("div", "label"));
  data.heads.forEach((head, i) => {
    const node = element(head.quiet ? "div" : "button", `head ${marks(head)}`);
    node.setAttribute("role", "columnheader");
    if (!head.quiet) {
      node.type = "button";
      node.setAttribute("aria-pressed", String(head.current));
      node.addEventListener("click", () => setTriggerValue("head", i));
    }
    node.append(element("span", "name", head.name), element("span", "more", head.more));
    node.title = head.more;
    top.append(node);
  });
  const nodes = [top];
  for (const group of data.groups) {
    const title = element("div", "row group");
    title.append(element("div", "title", group.title));
    nodes.push(title, ...group.lines.map((line) => row(line, data.heads)));
  }
  box.replaceChildren(...nodes);
  return undefined;
}

function row(line, heads) {
  const node = element("div", "row line");
  node.setAttribute("role", "row");
  const label = element("div", "label", line.label);
  label.setAttribute("role", "rowheader");
  label.title = line.about;
  node.append(label, ...line.figures.map((figure, i) => {
    const cell = element("div", `figure ${figure.tone} ${marks(heads[i])}`);
    cell.setAttribute("role", "cell");
    cell.title = [figure.text, figure.more].filter(Boolean).join(" · ");
    cell.append(element("span", "text", figure.text));
    if (figure.more) cell.append(element("span", "more", figure.more));
    return cell;
  }));
  return node;
}

function marks(head) { return `${head.quiet ? "quiet" : ""} ${head.current ? "current" : ""}`; }

function element(name, kind, text = "") {
  const node = document.createElement(name);
  node.className = kind.trim();
  node.textContent = text;
  return node;
}
