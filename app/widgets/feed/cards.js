// Jobs as cards: those that are active, or one of them until it is over and after.

export default function ({ parentElement, data, setTriggerValue }) {
  const box = parentElement.querySelector(".cards");
  if (!box || !data) return undefined;
  const label = parentElement.querySelector(".label");
  const show = (told) => {
    const jobs = data.job ? [told.job].filter(Boolean) : (told.running ?? []).slice(0, data.most);
    const queued = told.counts?.[1] ?? 0;
    label.hidden = Boolean(data.job) || !(jobs.length || queued);
    write(label, `Jobs${queued ? ` · ${queued} queued` : ""}`);
    keep(box, jobs, (job) => card(job, data.open ? open : null, stop), (node, job) => renew(node, job));
    write(parentElement.querySelector(".problem"), told.problem ?? "");
  };
  // a card outlives the script run that made it: what it does is looked up when it is pressed
  box.handlers = { open: (id) => setTriggerValue("open", id), stop: (id) => setTriggerValue("stop", id) };
  const open = (id) => box.handlers.open(id), stop = (id) => box.handlers.stop(id);
  show(data.now);
  const name = data.job ? `job ${data.job}` : "active";
  follow(feed(name, `/api/jobs${data.job ? `/${data.job}` : ""}`, 1), box, show);
  return undefined;
}
