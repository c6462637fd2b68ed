"""Small words for the screen: when something was, how long it took, how good it was. Pure text."""

from __future__ import annotations

from datetime import UTC, datetime

from audioreason.wording import counted


def when(moment: datetime | str, now: datetime | None = None) -> str:
    """A moment as people say it: 14:05 today, yesterday, 11 Nov, or 11 Nov 2025 in another year."""
    moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    now = (now or datetime.now(UTC)).astimezone()
    local = moment.astimezone()
    days = (now.date() - local.date()).days
    if days == 0:
        return f"{local:%H:%M}"
    if days == 1:
        return "yesterday"
    return f"{local.day} {local:%b}" + ("" if local.year == now.year else f" {local.year}")


def tokens(count: int, estimated: bool = False) -> str:
    """How long an answer was; "about" where nobody counted it alone (the words of `audioreason show`)."""
    return f"{'about ' if estimated else ''}{counted(count, 'token')}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 0.41 s, 12 s, 2 m 05."""
    if seconds < 9.95:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d}" if hours else f"{minutes} m {rest:02d}"
