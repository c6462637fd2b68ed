"""Many ways of asking the same question, and the answer that each way asks for.

The Pocket Listener must follow an edited prompt, so it is trained on paraphrases, reordered and missing lines, and on
the shipped templates in exact and edited form. What a prompt asks for is read off its text by one rule (`wanted`), so
an edit that removes the request for sections also removes the sections from the answer it is trained on.
Knows nothing about sound or tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from audioreason.workspace import shipped

if TYPE_CHECKING:
    from audioreason.items.schema import Item
    from audioreason.prompts import Prompt

SECTIONS = ("HEARD", "ANALYSIS", "ANSWER")

_SECTION = re.compile(r"\b(HEARD|ANALYSIS|ANSWER)\b")
_THINK = re.compile(
    r"step[ -]by[ -]step|<think>|chain of thought|think (?:before|first|aloud)|reason (?:before|first)", re.I
)
_PROSE = re.compile(
    r"last line|line of its own|a few (?:short )?(?:lines|sentences)|reason briefly|briefly (?:reason|explain)|"
    r"explain (?:your|why|briefly|how)|(?:give|state|show) your reasons?",
    re.I,
)
_TYPE = re.compile(r"(?:name|state|say|give|decide) (?:the|its|which) (?:question )?type", re.I)
_LETTER = re.compile(r"\b(?:the|a|its|one|only|single|by|with) letter\b", re.I)


@dataclass(frozen=True)
class Ask:
    """One rendered prompt."""

    system: str
    user: str


@dataclass(frozen=True)
class Wanted:
    """What a prompt asks for, in the order of precedence; nothing of all that: the choice alone.

    sections: named sections. thinks: thoughts in `<think>`, then the choice. prose: a reason, and the choice on a last
    line of its own; `names_type` puts the question's type before it. letter: the choice's letter for its text.
    """

    sections: tuple[str, ...] = ()
    thinks: bool = False
    prose: bool = False
    names_type: bool = False
    letter: bool = False

    @property
    def explains(self) -> bool:
        """Whether more than the choice is asked for."""
        return self.thinks or self.prose or len(self.sections) > 1


def wanted(ask: Ask, question: str = "", choices: Sequence[str] = ()) -> Wanted:
    """Read off a prompt's text what its answer must look like; the question and choices do not count."""
    text = f"{ask.system}\n{ask.user}"
    for quoted in (question, *choices):
        if quoted.strip():
            text = text.replace(quoted, " ")
    named = set(_SECTION.findall(text))
    sections = tuple(name for name in SECTIONS if name in named)
    explains = bool({"HEARD", "ANALYSIS"} & named)
    if explains and "ANSWER" not in named:
        sections = (*sections, "ANSWER")
    thinks = bool(_THINK.search(text)) and not explains
    prose = bool(_PROSE.search(text)) and not explains and not thinks
    names_type = prose and bool(_TYPE.search(text))
    return Wanted(sections, thinks, prose, names_type, bool(_LETTER.search(text)))


def shipped_prompts() -> tuple[Prompt, ...]:
    """The templates that came with the lab; none if it came without."""
    if not shipped("prompts").is_dir():
        return ()
    from audioreason.prompts import list_prompts

    return tuple(list_prompts(()))


def ask(rng: Random, item: Item, explain: bool, prompts: Sequence[Prompt] = ()) -> Ask:
    """One way of asking an item's question.

    Args:
        rng: decides everything.
        item: whose question and choices are asked.
        explain: whether to ask for sections or thoughts (an edit may lose the request).
        prompts: shipped templates to draw from, now and then.
    """
    fitting = [prompt for prompt in prompts if wanted(Ask(prompt.system, prompt.user)).explains == explain]
    if fitting and rng.random() < (0.4 if explain else 0.15):
        shares = [3 if len(wanted(Ask(p.system, p.user)).sections) > 1 else 1 for p in fitting]
        asked = render_prompt(rng.choices(fitting, shares)[0], item)
        edit_share = 0.5
    else:
        asked = _composed(rng, item, explain)
        edit_share = 0.3
    return edited(rng, asked, (item.question, *item.choices)) if rng.random() < edit_share else asked


def render_prompt(prompt: Prompt, item: Item) -> Ask:
    """A shipped template with an item's question, as the lab renders it."""
    from audioreason.prompts import render

    rendered = render(
        prompt,
        question=item.question,
        choices=list(item.choices),
        language=item.language,
        modality=item.modality,
    )
    return Ask(rendered.system, rendered.user)


def edited(rng: Random, asked: Ask, protected: Sequence[str]) -> Ask:
    """The prompt as a researcher might edit it: sentences lost, moved, reworded, added; `protected` texts are kept."""
    return Ask(_edit(rng, asked.system, protected, 0.3), _edit(rng, asked.user, protected, 0.25))


def _edit(rng: Random, text: str, protected: Sequence[str], share: float) -> str:
    lines = text.split("\n")
    free = [i for i, line in enumerate(lines) if line.strip() and not _holds(line, protected)]
    for index in free:
        line = lines[index]
        sentences = re.split(r"(?<=[.!?]) +", line)
        if rng.random() < share:
            kept = [sentence for sentence in sentences if rng.random() < 0.6]
            rng.shuffle(kept)
            line = " ".join(kept)
        for word, others in _SYNONYMS.items():
            if rng.random() < 0.3:
                line = re.sub(rf"\b{word}\b", rng.choice(others), line)
        if rng.random() < 0.04:
            line = line.lower()
        if rng.random() < 0.04:
            line = _mistyped(rng, line)
        lines[index] = line
    if len(free) > 1 and rng.random() < 0.15:
        order = free[:]
        rng.shuffle(order)
        moved = [lines[i] for i in order]
        for index, line in zip(free, moved, strict=True):
            lines[index] = line
    if rng.random() < 0.35:
        lines.insert(rng.choice((0, len(lines))), _remark(rng))
    if rng.random() < 0.2:
        lines = [line for line in lines if line.strip()]
    return "\n".join(lines).strip("\n")


def _holds(line: str, protected: Sequence[str]) -> bool:
    return any(part.strip() and (part.strip() in line or line.strip() in part) for part in protected)


def _mistyped(rng: Random, line: str) -> str:
    if len(line) < 4:
        return line
    at = rng.randrange(1, len(line) - 2)
    return rng.choice((line[:at] + line[at + 1 :], line[:at] + line[at + 1] + line[at] + line[at + 2 :]))


def _remark(rng: Random) -> str:
    """A sentence that asks for nothing, sometimes of words that make no sense together."""
    if rng.random() < 0.5:
        return rng.choice(_REMARKS)
    words = [rng.choice(_WORDS) for _ in range(rng.randint(3, 12))]
    return " ".join(words).capitalize() + rng.choice((".", "!", ":", "", " ..."))


def _composed(rng: Random, item: Item, explain: bool) -> Ask:
    listed = rng.random() < 0.85
    style = rng.choice(_LETTERED if listed else _PLAIN)
    lines = [style.format(letter="ABCDEFGHIJ"[i % 10], text=text) for i, text in enumerate(item.choices)]
    if style in _PLAIN and rng.random() < 0.5:
        joint = rng.choice((", ", " | ", " / ", "; "))
        block = joint.join(item.choices)
    else:
        block = rng.choice(("\n", "\n", "\n", "\n", " ", "  ")).join(lines)
    request = _request(rng, explain, listed)
    system: list[str] = []
    if rng.random() < 0.75:
        system.append(rng.choice(_ROLES))
    if rng.random() < 0.25:
        system.append(rng.choice(_REMARKS))
    question = rng.choice(("", "", "", "Question: ", "Q: ", "### Question\n", "Question:\n")) + item.question
    header = rng.choice(
        ("", "", "Choices:\n", "Options:\n", "Choices: ", "Possible answers:\n", "Choose from: ")
    )
    body = [question, header + block]
    if rng.random() < 0.08:
        body.reverse()
    where = rng.random()
    if where < 0.35:
        system.insert(rng.choice((0, len(system))), request)
    elif where < 0.45:
        body.insert(0, request)
    else:
        body.append(request)
    if rng.random() < 0.3:
        body.insert(0, rng.choice(_OPENINGS))
    if rng.random() < 0.1:
        body.append(rng.choice(_CLOSINGS))
    gap = rng.choice(("\n", "\n\n"))
    return Ask(rng.choice(("\n", " ", "\n\n")).join(system), gap.join(part for part in body if part))


def _request(rng: Random, explain: bool, listed: bool) -> str:
    if not explain:
        chance = rng.random()
        if chance < 0.22:
            return ""
        if chance < 0.62:
            return rng.choice(_DIRECT)
        if chance < 0.82 or not listed:
            return rng.choice(_MARKED)
        return rng.choice(_LETTER_ONLY)
    chance = rng.random()
    if chance < 0.2:
        return (
            rng.choice(_TYPES) + " " + rng.choice(_REASONS) if rng.random() < 0.25 else rng.choice(_REASONS)
        )
    if chance < 0.4:
        return rng.choice(_STEPS) + (" " + rng.choice((*_DIRECT, *_MARKED)) if rng.random() < 0.5 else "")
    if rng.random() < 0.45:
        return rng.choice(_STRUCTURED)
    parts = [f"HEARD{rng.choice((':', ' -', ':'))} {rng.choice(_HEARD)}",
             f"ANALYSIS{rng.choice((':', ' -', ':'))} {rng.choice(_ANALYSIS)}",
             f"ANSWER{rng.choice((':', ' -', ':'))} {rng.choice(_ANSWER)}"]  # fmt: skip
    opening = rng.choice(_FORMATS)
    return opening + rng.choice(("\n", "\n", " ")).join(parts)


def answer_text(rng: Random, item: Item, chosen: int, want: Wanted, silent: bool) -> str:
    """The answer that a prompt wants, from what is known by construction; deterministic apart from `rng`."""
    final = "ABCDEFGHIJ"[chosen % 10] if want.letter else item.choices[chosen]
    heard = "nothing but silence." if silent else describe_events(item)
    analysis = "There is nothing to go by, so this is a guess." if silent else one_line(item.thinking or "")
    if want.thinks:
        thoughts = f"<think>\n{heard} {analysis}\n</think>\n\n"
        return thoughts + (f"ANSWER: {final}" if want.sections else final)
    if want.prose:
        start = f"{one_line(item.subcategory or 'General')}\n" if want.names_type else ""
        return f"{start}{heard} {analysis}\n" + (f"ANSWER: {final}" if want.sections else final)
    if not want.sections:
        return final
    parts = {"HEARD": heard, "ANALYSIS": analysis, "ANSWER": final}
    return "\n".join(f"{name}: {parts[name]}" for name in want.sections)


def describe_events(item: Item, most: int = 14) -> str:
    """What is in the clip, in order, with times to a tenth of a second: `0.4-0.9s dog bark; 1.2-1.5s beep.`"""
    events = sorted(item.events, key=lambda event: (event.start, event.end))
    if not events:
        return one_line(" ".join(item.cue)) or "one continuous sound."
    told = [f"{event.start:.1f}-{event.end:.1f}s {one_line(event.label)}" for event in events[:most]]
    return "; ".join(told) + ("; and more." if len(events) > most else ".")


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


_LETTERED = (
    "({letter}) {text}",
    "({letter}) {text}",
    "{letter}. {text}",
    "{letter}) {text}",
    "{letter}: {text}",
)
_PLAIN = ("- {text}", "- {text}", "* {text}", "{text}", '"{text}"')

_ROLES = (
    "You are an expert in audio.",
    "You are an audio analyst.",
    "You are a careful listener.",
    "You are a helpful assistant that can hear.",
    "You are an expert audio analyst with perfect pitch and long experience.",
    "You answer multiple-choice questions about audio clips.",
    "You are taking a listening test.",
    "Listen to the audio and answer the question.",
    "You are Qwen, a virtual human developed by the Qwen Team, capable of perceiving auditory inputs.",
    "Act as a sound engineer who explains what can be heard.",
    "You will hear a short clip and a question about it.",
    "As an experienced musician and phonetician, you judge recordings.",
    "Your task is to reason about sound.",
    "You are a forensic audio examiner. You base every statement on what is audible.",
)
_OPENINGS = (
    "Listen to the clip.",
    "Listen carefully to the audio.",
    "Here is a recording.",
    "The audio above belongs to this question.",
    "Consider the following question about the audio.",
    "Please answer the question about this recording.",
)
_CLOSINGS = ("Thank you.", "Go ahead.", "Your answer:", "Answer:", "Take your time.", "Be concise.")
_REMARKS = (
    "Be precise.",
    "Pay attention to the timing of events.",
    "Ignore background noise unless the question is about it.",
    "Only rely on what you hear.",
    "Some clips are noisy.",
    "There is always exactly one correct choice.",
    "Count events one by one.",
    "Do not guess from the wording of the question.",
    "Speech may be in any language.",
    "Keep it short.",
    "If you are unsure, choose the most likely one.",
    "Pitch, loudness and rhythm all matter.",
    "Consider the order of the sounds.",
    "Compare the loudness at the start and at the end.",
    "Check each option against the audio.",
    "This is question seven of twenty.",
    "Eliminate options that contradict the recording.",
    "Note who speaks, when and how.",
)
_DIRECT = (
    "Answer with the exact text of one choice.",
    "Reply with the text of the correct choice only.",
    "Reply with the correct choice and nothing else.",
    "Choose one option and repeat it word for word.",
    "Respond with one of the options, copied exactly.",
    "Give only the correct option.",
    "Select the correct answer from the choices.",
    "Pick one.",
    "What is the correct choice?",
    "Please choose the answer from the options above. Output the chosen option only.",
    "Write nothing but the option you choose.",
    "Answer directly, without an explanation.",
)
_MARKED = (
    "End with a line 'ANSWER: <choice>'.",
    "Write ANSWER: followed by the exact text of one choice.",
    "Give your final answer as ANSWER: and the choice.",
    "Reply in the form\nANSWER: the choice",
    "Put the chosen text after ANSWER:",
    "Finish with ANSWER: and nothing after it.",
)
_LETTER_ONLY = (
    "Answer with the letter of the correct choice.",
    "Reply with the letter only.",
    "Give just the letter of the right option.",
    "Respond with a letter, nothing else.",
    "Write ANSWER: and the letter of your choice.",
    "Output only the letter.",
)
_STEPS = (
    "Think step by step, then answer.",
    "Let's think step by step.",
    "Reason step by step before you choose.",
    "Think step by step inside <think> and </think>, then give the answer.",
    "First think first, aloud; then answer.",
    "Use a chain of thought before answering.",
    "Work through it step by step and finish with your choice.",
    "Think before you answer.",
)
_REASONS = (
    "Reason briefly, then state the correct choice on a last line of its own.",
    "Explain your choice in a few sentences, then write it on the last line.",
    "Briefly explain what you hear. The last line is the exact text of one choice.",
    "Write your final answer on a last line of its own, as the exact text of one choice and nothing else.",
    "First state your reasons; the last line holds the chosen option alone.",
    "Explain how you know, and end with the option on a line of its own.",
)
_TYPES = (
    "Name the type of question first.",
    "Say which type of question this is.",
    "First decide which type it is.",
)
_STRUCTURED = (
    "Answer in three sections: HEARD, ANALYSIS, ANSWER.",
    "Use the sections HEARD, ANALYSIS and ANSWER.",
    "First write HEARD with what you hear, then ANALYSIS with your reasoning, then ANSWER with one choice.",
    "Format:\nHEARD: ...\nANALYSIS: ...\nANSWER: ...",
    "Respond exactly like this:\nHEARD: <what is audible>\nANALYSIS: <reasoning>\nANSWER: <choice>",
    "Structure your reply as HEARD:, ANALYSIS: and ANSWER:.",
    "Begin with HEARD: and list the sounds with their times. Continue with ANALYSIS:. Close with ANSWER: "
    "and the exact text of one choice.",
    "List the events under HEARD, reason under ANALYSIS, decide under ANSWER.",
    "Write down everything you notice (HEARD), what follows from it (ANALYSIS), and your choice (ANSWER).",
    "Your reply has three parts named HEARD, ANALYSIS, ANSWER, each on its own line.",
)
_FORMATS = (
    "Answer in this format:\n",
    "Use this format.\n",
    "Write three sections.\n",
    "Reply with:\n",
    "Structure:\n",
    "",
    "Follow this template strictly:\n",
    "Respond in the following form:\n\n",
)
_HEARD = (
    "what you hear, with times.",
    "list each sound with its start and end in seconds",
    "the sounds, in order",
    "[describe the audible events]",
    "everything that can be heard, second by second.",
    "concrete acoustic evidence only.",
    "<events with timestamps>",
)
_ANALYSIS = (
    "how this decides the question.",
    "reason from what you heard to the answer",
    "compare the choices with the evidence.",
    "[your reasoning]",
    "one or two sentences.",
    "<reasoning>",
    "weigh the options against the clip.",
)
_ANSWER = (
    "the exact text of one choice.",
    "one choice, copied exactly",
    "[the choice]",
    "the correct option, word for word.",
    "<choice>",
    "your final choice",
)
_SYNONYMS = {
    "audio": ("sound", "recording", "clip"),
    "clip": ("recording", "audio", "sample"),
    "Listen": ("Attend", "Pay attention"),
    "listen": ("attend", "pay attention"),
    "carefully": ("closely", "attentively", "with care"),
    "question": ("query", "problem", "task"),
    "choices": ("options", "candidates", "alternatives"),
    "choice": ("option", "candidate", "alternative"),
    "options": ("choices", "alternatives"),
    "option": ("choice", "alternative"),
    "correct": ("right", "true", "best"),
    "exact": ("full", "verbatim", "precise"),
    "expert": ("specialist", "professional", "veteran"),
    "describe": ("report", "note", "write down"),
    "Describe": ("Report", "Note", "Write down"),
    "hear": ("notice", "perceive"),
    "sounds": ("events", "noises"),
    "reasoning": ("thinking", "argument", "deduction"),
    "answer": ("reply", "response"),
    "Answer": ("Reply", "Respond"),
    "must": ("should", "have to", "need to"),
    "one": ("a single", "exactly one"),
    "evidence": ("observations", "facts", "cues"),
    "only": ("just", "solely"),
}
_WORDS = tuple(
    (
        "the a of to in and for with from by on at is are was this that these those it we they you every each some many "
        "few more less never always often note rule remember important please careful sound music speech speaker "
        "voice tone pitch tempo rhythm instrument noise background event time second minute beginning end middle "
        "first second third last before after between while during long short loud quiet high low fast slow clear "
        "room street kitchen forest water wind machine animal bird dog person man woman child crowd signal code word "
        "number language emotion happy sad angry calm near far left right moving still count compare identify decide "
        "explain describe check verify consider ignore focus detail general specific evidence reason result error "
        "quality sample test expert analyst student teacher step part section format line sentence paragraph list"
    ).split()
)
