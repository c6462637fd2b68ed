// A list of runs with a search field. What is typed hides rows here; only a click reaches Python.

export default function ({ parentElement, data, setTriggerValue }) {
  const root = parentElement.querySelector(".runlist");
  if (!root || !data) return undefined;
  const field = root.querySelector("input");
  const list = root.querySelector(".list");
  field.hidden = !data.search;
  const key = JSON.stringify(data);
  if (root.dataset.shown !== key) {
    root.dataset.shown = key;
    const top = list.scrollTop;
    const focused = root.getRootNode().activeElement?.dataset?.id;
    list.replaceChildren(...data.entries.map((entry) => row(entry, data, setTriggerValue)));
    list.scrollTop = top;
    if (focused) [...list.children].find((node) => node.dataset.id === focused)?.focus();
  }
  const search = () => {
    const words = (data.search ? field.value : "").toLowerCase().split(/\s+/).filter(Boolean);
    let seen = 0;
    [...list.children].forEach((node, i) => {
      node.hidden = !words.every((word) => data.entries[i].words.includes(word));
      seen += node.hidden ? 0 : 1;
    });
    root.querySelector(".nothing").hidden = seen > 0;
  };
  field.oninput = search;
  search();
  return undefined;
}

function row(entry, data, setTriggerValue) {
  const chosen = data.chosen.includes(entry.id);
  const node = document.createElement("button");
  node.type = "button";
  node.className = `entry ${chosen ? "chosen" : ""}`;
  node.dataset.id = entry.id;
  node.title = entry.id;
  node.disabled = data.full && !chosen;
  node.setAttribute("role", "checkbox");
  node.setAttribute("aria-checked", String(chosen));
  node.setAttribute("aria-label", entry.id);
  const name = part("name", entry.name);
  name.append(...entry.tags.map((tag) => part("tag", tag)));
  node.append(part("tick", ""), name, part("about", entry.about),
    part("accuracy", entry.accuracy), part("when", entry.when));
  node.addEventListener("click", () => setTriggerValue("toggled", entry.id));
  return node;
}

function part(name, text) {
  const node = document.createElement("span");
  node.className = name;
  node.textContent = text;
  return node;
}
