// Text as it is, piece by piece, with a button that copies it all; where the browser lets no page copy, it selects it.

export default function ({ parentElement, data }) {
  const box = parentElement.querySelector(".text");
  if (!box || !data) return undefined;
  const pre = box.querySelector("pre");
  box.style.height = `${data.height}px`;
  const whole = data.pieces.map(([, text]) => text).join("\n");
  if (pre.textContent !== whole) {
    pre.replaceChildren(...data.pieces.flatMap(([tone, text], i) => [i ? "\n" : "", piece(tone, text)]));
    pre.scrollTop = 0;
  }
  const button = box.querySelector("button");
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(pre.textContent);
      button.textContent = "Copied";
    } catch {
      window.getSelection().selectAllChildren(pre);
      button.textContent = "Selected";
    }
    window.clearTimeout(button.shown);
    button.shown = window.setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  return undefined;
}

function piece(tone, text) {
  const node = document.createElement("span");
  if (tone) node.className = tone;
  node.textContent = text;
  return node;
}
