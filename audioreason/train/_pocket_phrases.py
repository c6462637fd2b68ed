"""Pools of phrases from which training prompts are put together; data, no behaviour."""

from __future__ import annotations

LETTERED = (
    "({letter}) {text}",
    "({letter}) {text}",
    "{letter}. {text}",
    "{letter}) {text}",
    "{letter}: {text}",
)
PLAIN = ("- {text}", "- {text}", "* {text}", "{text}", '"{text}"')

ROLES = (
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
OPENINGS = (
    "Listen to the clip.",
    "Listen carefully to the audio.",
    "Here is a recording.",
    "The audio above belongs to this question.",
    "Consider the following question about the audio.",
    "Please answer the question about this recording.",
)
CLOSINGS = ("Thank you.", "Go ahead.", "Your answer:", "Answer:", "Take your time.", "Be concise.")
REMARKS = (
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
DIRECT = (
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
MARKED = (
    "End with a line 'ANSWER: <choice>'.",
    "Write ANSWER: followed by the exact text of one choice.",
    "Give your final answer as ANSWER: and the choice.",
    "Reply in the form\nANSWER: the choice",
    "Put the chosen text after ANSWER:",
    "Finish with ANSWER: and nothing after it.",
)
LETTER_ONLY = (
    "Answer with the letter of the correct choice.",
    "Reply with the letter only.",
    "Give just the letter of the right option.",
    "Respond with a letter, nothing else.",
    "Write ANSWER: and the letter of your choice.",
    "Output only the letter.",
)
STEPS = (
    "Think step by step, then answer.",
    "Let's think step by step.",
    "Reason step by step before you choose.",
    "Think step by step inside <think> and </think>, then give the answer.",
    "First think first, aloud; then answer.",
    "Use a chain of thought before answering.",
    "Work through it step by step and finish with your choice.",
    "Think before you answer.",
)
REASONS = (
    "Reason briefly, then state the correct choice on a last line of its own.",
    "Explain your choice in a few sentences, then write it on the last line.",
    "Briefly explain what you hear. The last line is the exact text of one choice.",
    "Write your final answer on a last line of its own, as the exact text of one choice and nothing else.",
    "First state your reasons; the last line holds the chosen option alone.",
    "Explain how you know, and end with the option on a line of its own.",
)
TYPES = (
    "Name the type of question first.",
    "Say which type of question this is.",
    "First decide which type it is.",
)
STRUCTURED = (
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
FORMATS = (
    "Answer in this format:\n",
    "Use this format.\n",
    "Write three sections.\n",
    "Reply with:\n",
    "Structure:\n",
    "",
    "Follow this template strictly:\n",
    "Respond in the following form:\n\n",
)
HEARD = (
    "what you hear, with times.",
    "list each sound with its start and end in seconds",
    "the sounds, in order",
    "[describe the audible events]",
    "everything that can be heard, second by second.",
    "concrete acoustic evidence only.",
    "<events with timestamps>",
)
ANALYSIS = (
    "how this decides the question.",
    "reason from what you heard to the answer",
    "compare the choices with the evidence.",
    "[your reasoning]",
    "one or two sentences.",
    "<reasoning>",
    "weigh the options against the clip.",
)
ANSWER = (
    "the exact text of one choice.",
    "one choice, copied exactly",
    "[the choice]",
    "the correct option, word for word.",
    "<choice>",
    "your final choice",
)
SYNONYMS = {
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
WORDS = tuple(
    """
the a of to in and for with from by on at is are was this that these those it we they you every each
some many few more less never always often note rule remember important please careful sound music
speech speaker voice tone pitch tempo rhythm instrument noise background event time second minute
beginning end middle first second third last before after between while during long short loud quiet
high low fast slow clear room street kitchen forest water wind machine animal bird dog person man woman
child crowd signal code word number language emotion happy sad angry calm near far left right moving
still count compare identify decide explain describe check verify consider ignore focus detail general
specific evidence reason result error quality sample test expert analyst student teacher step part
section format line sentence paragraph list
""".split()  # noqa: SIM905 - a list of 130 strings is harder to read
)
