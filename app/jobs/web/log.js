// The end of a log. It follows what comes unless somebody has scrolled up; level and search are looked up at
// the server, over far more of the log than is shown.

export default function ({ parentElement, data }) {
  const box = parentElement.querySelector(".log");
  if (!box || !data) return undefined;
  const levels = parentElement.querySelector(".levels"), find = parentElement.querySelector("input");
  const empty = parentElement.querySelector(".empty");
  const source = feed("jobs", "/api/jobs", 1);
  const wanted = () => ({
    level: levels.querySelector("[aria-pressed=true]").value, find: find.value,
  });
  const show = (told) => {
    if (!told.log || told.log.job !== data.job || box.dataset.stamp === told.log.stamp) return;
    box.dataset.stamp = told.log.stamp;
    const other = box.dataset.job !== data.job;
    const following = other || box.scrollHeight - box.scrollTop - box.clientHeight < 24;
    box.dataset.job = data.job;
    draw(box, told.log.lines);
    const filtered = source.ask.level || source.ask.find;
    write(empty, told.log.lines.length ? "" : filtered ? "No line is like that." : "Nothing yet.");
    if (following) box.scrollTop = box.scrollHeight;
  };
  levels.onclick = (event) => {
    if (!event.target.matches("button")) return;
    for (const one of levels.children) one.setAttribute("aria-pressed", String(one === event.target));
    ask(source, wanted());
  };
  find.oninput = () => {
    clearTimeout(box.waiting);
    box.waiting = setTimeout(() => ask(source, wanted()), 250);
  };
  find.onkeydown = (event) => event.stopPropagation(); // no page-wide key while somebody types
  if (box.dataset.job !== data.job) {
    box.replaceChildren();
    box.shown = [];
    box.dataset.stamp = "";
  }
  show(source.told);
  ask(source, { job: data.job, ...wanted() });
  follow(source, box, show);
  return undefined;
}

// New lines are appended where the rest is what is shown already, so that a selection stays.
function draw(box, lines) {
  const keys = lines.map((line) => line.join("\u0001")), before = box.shown ?? [];
  let first = before.indexOf(keys[0]);
  while (first >= 0 && !before.slice(first).every((key, i) => key === keys[i])) {
    first = before.indexOf(keys[0], first + 1);
  }
  const stay = first < 0 ? 0 : before.length - first;
  while (box.children.length > stay) box.firstElementChild.remove();
  box.append(...lines.slice(stay).map(([time, level, text]) => {
    const line = element("div", level);
    line.append(element("span", "", time), document.createTextNode(text));
    return line;
  }));
  box.shown = keys;
}
