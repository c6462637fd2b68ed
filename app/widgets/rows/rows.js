// A small table that opens at once: rows of text, each a button where a click means something.

export default function ({ parentElement, data, setTriggerValue }) {
  const box = parentElement.querySelector(".rows");
  if (!box || !data) return undefined;
  const key = JSON.stringify(data);
  if (box.dataset.shown === key) return undefined;
  box.dataset.shown = key;
  box.style.setProperty("--columns", data.columns.map((column) => column.width).join(" "));
  box.style.maxHeight = data.height ? `${data.height}px` : "";
  box.querySelector(".head").replaceChildren(
    ...data.columns.map((column) => cell(column.name, column, "columnheader")));
  box.querySelector(".list").replaceChildren(...data.rows.map((row, i) => {
    const node = document.createElement(data.clickable ? "button" : "div");
    node.className = `row ${i === data.current ? "current" : ""}`;
    if (data.clickable) {
      node.type = "button";
      node.addEventListener("click", () => setTriggerValue("row", i));
    }
    node.append(...row.map((text, k) => cell(text, data.columns[k], "cell", data.tones?.[i]?.[k])));
    return node;
  }));
  return undefined;
}

function cell(text, column, role, tone = "") {
  const node = document.createElement("div");
  node.className = `cell ${column.number ? "number" : ""} ${tone ?? ""}`;
  node.setAttribute("role", role);
  node.textContent = node.title = text;
  return node;
}
