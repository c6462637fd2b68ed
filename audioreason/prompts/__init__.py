"""Prompt templates: load (`library`), read and version (`template`), fill in safely (`render`,
`sandbox`)."""

from audioreason.prompts.library import broken_prompts, list_prompts, load_prompt
from audioreason.prompts.render import VARIABLES, Rendered, check, flag_special_tokens, render
from audioreason.prompts.sandbox import letter
from audioreason.prompts.template import Prompt, diff, dump_prompt, parse_prompt

__all__ = [
    "VARIABLES",
    "Prompt",
    "Rendered",
    "broken_prompts",
    "check",
    "diff",
    "dump_prompt",
    "flag_special_tokens",
    "letter",
    "list_prompts",
    "load_prompt",
    "parse_prompt",
    "render",
]
