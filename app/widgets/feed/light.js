// The state of the machine in the header, looked at every two seconds.

export default function ({ parentElement, data, setTriggerValue }) {
  const box = parentElement.querySelector(".light");
  if (!box || !data) return undefined;
  const show = (told) => {
    box.className = `light ${told.colour ?? ""}`;
    write(box.querySelector(".words"), told.words ?? "");
    box.title = told.problem ?? "";
    // whoever waits for a model on this page can be told now
    if (told.ready !== undefined && told.ready !== data.ready && box.dataset.asked !== String(told.ready)) {
      box.dataset.asked = told.ready;
      setTriggerValue("changed", told.ready);
    }
  };
  if (box.dataset.asked === String(data.ready)) delete box.dataset.asked;
  show(data.now);
  follow(feed("machine", "/api/machine", 2), box, show);
  return undefined;
}
