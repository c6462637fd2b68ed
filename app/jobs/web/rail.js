// What runs as cards, what waits and what has ended as rows. A click shows the job.

export default function ({ parentElement, data, setTriggerValue }) {
  const box = parentElement.querySelector(".rail");
  if (!box || !data) return undefined;
  const [cards, queued, ended] = box.children;
  box.handlers = { open: (id) => setTriggerValue("open", id), stop: (id) => setTriggerValue("stop", id) };
  const open = (id) => box.handlers.open(id), stop = (id) => box.handlers.stop(id);
  const show = (told) => {
    keep(cards, told.running ?? [], (job) => card(job, open, stop), (node, job) => renew(node, job, data.job));
    if (!told.list) return;
    list(queued, `Queued ${told.list.queued.length}`, told.list.queued, data.job, open);
    list(ended, `Ended ${told.list.count}`, told.list.ended, data.job, open);
  };
  show(data.now);
  follow(feed("jobs", "/api/jobs", 1), box, show);
  return undefined;
}

function list(box, title, jobs, current, open) {
  box.hidden = !jobs.length;
  write(box.querySelector(".label"), title);
  keep(box.querySelector(".list"), jobs, (job) => {
    const node = element("button", "row");
    node.type = "button";
    node.append(...job.cells.map(() => element("span", "cell")));
    node.addEventListener("click", () => open(job.id));
    return node;
  }, (node, job) => {
    node.className = `row ${job.id === current ? "current" : ""} ${job.bad ? "bad" : ""}`;
    job.cells.forEach((text, i) => {
      write(node.children[i], text);
      node.children[i].title = text;
    });
  });
}
