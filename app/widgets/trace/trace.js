// What a model wrote, in sections, as text parts. A part with a time is a button that seeks in the player of
// its clip by a window event. Everything from the model goes through textContent: it can never become markup.

const shown = new WeakMap();

export default function ({ parentElement, data }) {
  const box = parentElement.querySelector(".trace");
  if (!box || !data) return undefined;
  const list = box.querySelector(".sections");
  const pinned = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
  box.className = `trace ${data.boxed ? "boxed" : ""} ${data.stacked ? "stacked" : "beside"}`;
  box.style.height = data.height ? `${data.height}px` : "";
  box.setAttribute("aria-busy", String(Boolean(data.streaming)));

  // only sections that changed are built again, so that a selection or a focus elsewhere survives streaming
  const before = shown.get(list) ?? [];
  const wanted = data.sections.map((section, i) => ({
    ...section, caret: Boolean(data.streaming) && i === data.sections.length - 1,
  }));
  if (!wanted.length && data.empty) wanted.push({ name: "", tone: "empty", parts: [{ text: data.empty }] });
  wanted.forEach((section, i) => {
    const key = JSON.stringify([section, data.clip]);
    if (before[i] === key) return;
    const node = draw(section, data.clip);
    if (list.children[i]) list.replaceChild(node, list.children[i]);
    else list.append(node);
    before[i] = key;
  });
  while (list.children.length > wanted.length) list.lastElementChild.remove();
  before.length = wanted.length;
  shown.set(list, before);
  if (data.streaming && pinned) box.scrollTop = box.scrollHeight;
  return undefined;
}

function draw(section, clip) {
  if (section.tone === "empty") return element("div", "empty", section.parts[0].text);
  const node = element("div", `section ${section.tone ?? ""}`);
  node.append(element("div", "name", section.name));
  const body = element("div", `body ${section.caret ? "caret" : ""}`);
  for (const part of section.parts) body.append(piece(part, clip));
  node.append(body);
  return node;
}

function piece(part, clip) {
  if (part.read) {
    const mark = element("mark", "read", part.text);
    mark.title = part.read;
    return mark;
  }
  if (part.start === undefined || !clip)
    return part.changed || part.looped
      ? element("span", part.looped ? "looped" : "changed", part.text) : document.createTextNode(part.text);
  const kind = part.named ? "named" : /^\d/.test(part.text) ? "time" : "quote";
  const button = element("button", kind, part.text);
  button.type = "button";
  button.title = part.end ? `Hear ${part.start.toFixed(2)} to ${part.end.toFixed(2)} s` : `Hear from ${part.start.toFixed(2)} s`;
  button.addEventListener("click", () => window.dispatchEvent(new CustomEvent("audioreason:seek", {
    detail: { id: clip, time: part.start, end: part.end ?? 0 },
  })));
  return button;
}

function element(name, kind, text = "") {
  const node = document.createElement(name);
  node.className = kind.trim();
  node.textContent = text;
  return node;
}
