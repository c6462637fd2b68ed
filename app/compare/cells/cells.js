// Two runs item by item: four buttons, the baseline's rows and the other run's columns.

export default function ({ parentElement, data, setTriggerValue }) {
  const box = parentElement.querySelector(".four");
  if (!box || !data) return undefined;
  const key = JSON.stringify(data);
  if (box.dataset.shown === key) return undefined;
  box.dataset.shown = key;
  const [bothRight, lost, won, bothWrong] = data.cells.map((cell) => button(cell, data, setTriggerValue));
  box.replaceChildren(
    part("span", "corner", ""), part("span", "column", `${data.run} right`), part("span", "column", `${data.run} wrong`),
    part("span", "side", `${data.baseline} right`), bothRight, lost,
    part("span", "side", `${data.baseline} wrong`), won, bothWrong);
  return undefined;
}

function button(cell, data, setTriggerValue) {
  const node = document.createElement("button");
  node.type = "button";
  node.className = `${cell.name} ${cell.name === data.chosen ? "chosen" : ""}`;
  node.setAttribute("aria-label", `${cell.words}: ${cell.count} items`);
  node.append(part("span", "number", cell.count), part("span", "word", cell.words));
  node.addEventListener("click", () => setTriggerValue("picked", cell.name));
  return node;
}

function part(tag, name, text) {
  const node = document.createElement(tag);
  node.className = name;
  node.textContent = node.title = text;
  return node;
}
