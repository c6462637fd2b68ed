// One poll for everybody on a page who reads the same address; in front of each script that uses it.

// The feed of a name. `ask` are the parameters of its address, `seconds` the time between two polls.
function feed(name, path, seconds) {
  const feeds = (window.__audioreasonFeeds ??= {});
  if (!feeds[name]) {
    feeds[name] = { ask: {}, told: {}, readers: new Map(), timer: 0, turn: 0 };
    document.addEventListener("visibilitychange", () => !document.hidden && poll(feeds[name]));
  }
  return Object.assign(feeds[name], { path, seconds });
}

// Tell `reader` after each poll, for as long as `node` is on the page.
function follow(feed, node, reader) {
  feed.readers.set(node, reader);
  if (!feed.timer) poll(feed);
}

// Change what is asked for; the answer comes at once if that is something else.
function ask(feed, changes) {
  const before = JSON.stringify(feed.ask);
  Object.assign(feed.ask, changes);
  if (JSON.stringify(feed.ask) !== before) poll(feed);
}

async function poll(feed) {
  clearTimeout(feed.timer);
  for (const node of feed.readers.keys()) if (!node.isConnected) feed.readers.delete(node);
  feed.timer = feed.readers.size ? -1 : 0; // -1: asked, and not answered yet
  if (!feed.timer) return;
  const turn = (feed.turn += 1);
  // what has a stamp is left out of the answer if it is still the same
  const stamps = { list: feed.told.list?.stamp ?? "", log: feed.told.log?.stamp ?? "" };
  try {
    const address = `${feed.path}?${new URLSearchParams({ ...feed.ask, ...stamps })}`;
    const answer = await fetch(address, { signal: AbortSignal.timeout(20_000) });
    const news = await answer.json();
    if (turn !== feed.turn) return;
    feed.told = { ...feed.told, problem: "", ...news };
    for (const [node, reader] of feed.readers) if (node.isConnected) reader(feed.told);
  } catch {
    // the server is away or starts again; Streamlit says so, and the next poll asks anew
  }
  // a slow server is asked again after its answer, not during it
  if (turn === feed.turn) feed.timer = setTimeout(() => poll(feed), document.hidden ? 10_000 : 1000 * feed.seconds);
}

function element(name, kind, text) {
  const node = document.createElement(name);
  node.className = kind;
  if (text !== undefined) node.textContent = text;
  return node;
}

// Set a text only where it is another: a selection in it stays.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Parts [text, tone] as spans in one line, with a dot between them.
function say(node, parts) {
  while (node.children.length > parts.length) node.lastElementChild.remove();
  parts.forEach(([text, tone], i) => {
    const span = node.children[i] ?? node.appendChild(element("span", ""));
    if (span.className !== tone) span.className = tone;
    write(span, i ? ` · ${text}` : text);
  });
}

// Let `box` hold one node for each item, in order; nodes of items that stay are kept, with their focus.
function keep(box, items, make, update) {
  const nodes = new Map([...box.children].map((node) => [node.dataset.id, node]));
  items.forEach((item, i) => {
    let node = nodes.get(String(item.id));
    if (!node) {
      node = make(item);
      node.dataset.id = item.id;
    }
    nodes.delete(String(item.id));
    if (box.children[i] !== node) box.insertBefore(node, box.children[i] ?? null);
    update(node, item);
  });
  for (const node of nodes.values()) node.remove();
}

// A job as a bordered card: title, Stop, bar, numbers. Handlers take the job's id.
function card(job, open, stop) {
  const node = element("div", "card"), head = element("div", "top"), track = element("div", "track");
  const title = element(open ? "button" : "div", "title"), end = element("button", "stop", "Stop");
  if (open) title.addEventListener("click", () => open(job.id));
  end.addEventListener("click", () => stop(job.id));
  track.append(element("div", "bar"));
  track.setAttribute("role", "progressbar");
  head.append(title, end);
  node.append(head, track, element("div", "line"), element("div", "reason"));
  return node;
}

function renew(node, job, current) {
  const [head, track, line, reason] = node.children, [title, end] = head.children;
  node.className = `card ${job.id === current ? "current" : ""}`;
  write(title, job.title);
  end.hidden = job.over;
  end.disabled = job.stopping;
  track.hidden = job.over || job.share === null;
  track.firstElementChild.style.width = `${100 * (job.share ?? 0)}%`;
  track.setAttribute("aria-valuenow", Math.round(100 * (job.share ?? 0)));
  say(line, job.line);
  say(reason, job.reason);
  reason.hidden = !job.reason.length;
}
