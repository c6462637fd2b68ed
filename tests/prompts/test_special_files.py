"""Files among the prompts that are no text files: left out, named, and nobody waits for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from audioreason.errors import PromptError
from audioreason.prompts import broken_prompts, list_prompts, load_prompt


def test_a_device_or_a_pipe_among_the_prompts_is_skipped_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "zero.md").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere")
    assert not {"zero", "pipe", "gone"} & {prompt.name for prompt in list_prompts([tmp_path])}
    said = " ".join(str(error) for error in broken_prompts([tmp_path]))
    assert said.count("is not a regular file") == 3
    with pytest.raises(PromptError, match=r"zero\.md is not a regular file"):
        load_prompt("zero", [tmp_path])
