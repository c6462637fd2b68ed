// Asks for new charts when there are new points, at most every few seconds. Draws nothing.

export default function ({ parentElement, data, setTriggerValue }) {
  const node = parentElement.querySelector("i");
  if (!node || !data) return undefined;
  node.drawn = Date.now();
  const show = (told) => {
    if (told.job?.id !== data.job || told.job.metrics === undefined || told.job.metrics === data.seen) return;
    if (document.hidden || Date.now() - node.drawn < 1000 * data.every) return;
    node.drawn = Date.now();
    setTriggerValue("grown", told.job.metrics);
  };
  follow(feed("jobs", "/api/jobs", 1), node, show);
  return undefined;
}
