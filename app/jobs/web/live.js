// One job as it goes on: how far it is, what it uses, its phases, or the parts of a matrix.

export default function ({ parentElement, data, setTriggerValue }) {
  const box = parentElement.querySelector(".live");
  if (!box || !data) return undefined;
  const [line, track, reason, used, timeline, parts] = box.children;
  box.handlers = { open: (id) => setTriggerValue("open", id) };
  const open = (id) => box.handlers.open(id);
  const source = feed("jobs", "/api/jobs", 1);
  const show = (told) => {
    const job = told.job;
    if (!job || job.id !== data.job) return;
    if (job.signature !== data.signature) {
      // other buttons belong to it now: the page has to run again, once
      if (box.dataset.asked !== job.signature) setTriggerValue("changed", job.signature);
      box.dataset.asked = job.signature;
    } else delete box.dataset.asked;
    if (!job.line) return;
    say(line, [...job.line, ...job.since]);
    track.hidden = job.share === null;
    track.firstElementChild.style.width = `${100 * (job.share ?? 0)}%`;
    say(reason, job.reason);
    reason.hidden = !job.reason.length;
    draw_used(used, job.used);
    draw_timeline(timeline, job.timeline);
    draw_parts(parts, job.children, open);
  };
  show(data.now);
  ask(source, { job: data.job });
  follow(source, box, show);
  return undefined;
}

function draw_used(box, words) {
  box.hidden = !words.length;
  keep(box, words.map(([value, unit], id) => ({ id, value, unit })), () => {
    const node = element("span", "figure");
    node.append(element("span", "strong"), " ", element("span", "grey"));
    return node;
  }, (node, word) => {
    write(node.children[0], word.value);
    write(node.children[1], word.unit);
  });
}

function draw_timeline(box, timeline) {
  box.hidden = !timeline;
  if (!timeline) return;
  const [rows, axis] = box.children;
  keep(rows, timeline.rows, (row) => {
    const node = element("div", "phase");
    node.append(element("span", "name", row.id), element("div", "bars"));
    node.firstElementChild.title = row.id;
    return node;
  }, (node, row) => {
    const bars = node.lastElementChild;
    keep(bars, row.bars.map((bar, id) => ({ id, bar })), () => element("i", ""), (mark, { bar }) => {
      const [left, width, state, words] = bar;
      mark.className = state;
      mark.style.left = `${left}%`;
      mark.style.width = `max(2px, ${width}%)`;
      mark.title = words;
    });
  });
  const marks = timeline.ticks.map(([left, label]) => ({ id: label, left, label }));
  keep(axis, marks, () => element("span", "tick"), (node, tick) => {
    node.style.left = `${tick.left}%`;
    write(node, tick.label);
  });
  box.style.setProperty("--now", `${timeline.now ?? 0}%`);
  box.classList.toggle("going", timeline.now !== null);
}

function draw_parts(box, children, open) {
  box.hidden = !children.length;
  keep(box.querySelector(".list"), children, (child) => {
    const node = element("button", "row");
    node.type = "button";
    node.append(...child.cells.map(() => element("span", "cell")), element("i", "done"));
    node.addEventListener("click", () => open(child.id));
    return node;
  }, (node, child) => {
    node.className = `row ${child.bad ? "bad" : ""}`;
    child.cells.forEach((text, i) => {
      write(node.children[i], text);
      node.children[i].title = text;
    });
    node.lastElementChild.style.width = `${100 * child.share}%`;
  });
}
