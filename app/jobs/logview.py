"""The end of a log in a box of fixed height. It follows what comes unless somebody has scrolled up."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from audioreason.jobs.logs import LogLine

HEIGHT = 178  # px

_JS = """
export default function ({ parentElement, data }) {
  const box = parentElement.querySelector(".log");
  const key = JSON.stringify(data);
  if (!box || box.dataset.shown === key) return;
  const other = box.dataset.job !== data.job;
  const following = other || box.scrollHeight - box.scrollTop - box.clientHeight < 24;
  box.dataset.shown = key;
  box.dataset.job = data.job;
  box.replaceChildren(...data.lines.map(([time, level, text]) => {
    const line = document.createElement("div");
    line.className = level;
    const when = document.createElement("span");
    when.textContent = time;
    line.append(when, document.createTextNode(text));
    return line;
  }));
  if (following) box.scrollTop = box.scrollHeight;
}
"""
_CSS = f"""
.log {{
  height: {HEIGHT}px; overflow: auto; box-sizing: border-box; padding: 8px 12px; scrollbar-width: thin;
  background: var(--st-code-background-color); border-radius: var(--st-base-radius);
  font: 400 12px/19px var(--st-code-font); color: var(--st-text-color); white-space: pre;
}}
.log:focus-visible {{ outline: 2px solid var(--st-primary-color); outline-offset: -2px; }}
span {{ display: inline-block; min-width: 8ch; margin-right: 2ch; color: var(--st-gray-text-color); }}
.WARNING {{ color: var(--st-orange-text-color); }}
.ERROR, .CRITICAL {{ color: var(--st-red-text-color); }}
"""
_component = st.components.v2.component(
    "audioreason_log",
    html='<div class="log" role="log" aria-label="Log" tabindex="0"></div>',
    css=_CSS,
    js=_JS,
)


def logview(lines: Sequence[LogLine], *, key: str, job_id: str) -> None:
    """Draw the lines, oldest first; the newest is in view."""
    shown = [(line.time[11:19], line.level, line.text.replace("\0", "�")) for line in lines]
    _component(key=key, data={"job": job_id, "lines": shown}, height=HEIGHT)
