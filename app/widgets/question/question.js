// One question with its choices. Everything comes from a dataset or a model, so everything is set by textContent.

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

export default function ({ parentElement, data }) {
  const node = parentElement.querySelector(".question");
  if (!node || !data) return undefined;
  const key = JSON.stringify(data);
  if (node.dataset.shown === key) return undefined;
  node.dataset.shown = key;
  node.classList.toggle("row", Boolean(data.row));
  node.querySelector(".asked").textContent = data.question;
  node.querySelector(".choices").replaceChildren(...data.choices.map((text, i) => choice(text, i, data)));
  node.querySelector(".badges").replaceChildren(...data.badges.map((text) => element("span", "badge", text)));
  const reference = node.querySelector(".reference");
  reference.hidden = !data.reference;
  reference.querySelector(".text").textContent = data.reference ?? "";
  return undefined;
}

function choice(text, i, { gold, given }) {
  const node = element("li", [i === gold && "gold", i === given && "given"].filter(Boolean).join(" "));
  node.append(element("span", "letter", LETTERS[i] ?? String(i + 1)), element("span", "choice", text));
  if (i === given) node.append(element("span", gold === null ? "mark" : `mark ${i === gold ? "right" : "wrong"}`, "given"));
  if (i === gold) node.append(element("span", "mark right", "gold"));
  return node;
}

function element(name, kind, text = "") {
  const node = document.createElement(name);
  node.className = kind;
  node.textContent = text;
  return node;
}
