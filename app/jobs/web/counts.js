// How many jobs run and wait, and the GPUs' memory.

export default function ({ parentElement, data, setTriggerValue }) {
  const box = parentElement.querySelector(".counts");
  if (!box || !data) return undefined;
  const show = (told) => {
    write(box.lastElementChild, told.problem ?? "");
    if (!told.counts) return;
    const [running, queued] = told.counts;
    const words = [[running, "running"], [queued, "queued"], ...(told.gpus ?? [])];
    keep(box.firstElementChild, words.map(([value, unit], id) => ({ id, value: String(value), unit })), () => {
      const node = element("span", "count");
      node.append(element("span", "strong"), " ", element("span", "grey"));
      return node;
    }, (node, word) => {
      write(node.children[0], word.value);
      write(node.children[1], word.unit);
    });
    // the first job of a workspace brings the whole page
    const any = running + queued > 0;
    if (data.empty && any && !box.dataset.asked) {
      box.dataset.asked = "yes";
      setTriggerValue("changed", true);
    }
  };
  show(data.now);
  follow(feed("jobs", "/api/jobs", 1), box, show);
  return undefined;
}
