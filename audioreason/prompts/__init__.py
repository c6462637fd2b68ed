"""Prompt templates: load (`library`), read and version (`template`), fill in safely (`render`,
`sandbox`)."""

from audioreason.prompts.library import broken_prompts, decode_prompt, list_prompts, load_prompt
from audioreason.prompts.render import (
    REVEALING,
    VARIABLES,
    Rendered,
    check,
    flag_special_tokens,
    remarks,
    render,
    revealed,
)
from audioreason.prompts.sandbox import letter
from audioreason.prompts.template import Prompt, diff, dump_prompt, parse_prompt

__all__ = [
    "REVEALING",
    "VARIABLES",
    "Prompt",
    "Rendered",
    "broken_prompts",
    "check",
    "decode_prompt",
    "diff",
    "dump_prompt",
    "flag_special_tokens",
    "letter",
    "list_prompts",
    "load_prompt",
    "parse_prompt",
    "remarks",
    "render",
    "revealed",
]
