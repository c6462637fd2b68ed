"""A language model without ears, behind the same server: any causal LM that transformers loads, also as GGUF.

For what needs words and no sound, such as proposing prompts. One request at a time, in one thread. Serves a
folder in the usual layout (config.json, safetensors) or one that holds a single `.gguf` file, which is
de-quantised when it is loaded. Knows nothing about HTTP.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioreason.engines.local import Load, require_torch
from audioreason.engines.pocket import first_line, read_config
from audioreason.engines.samples import Chunk, Request, Sample, Ticket
from audioreason.engines.sampling import pick
from audioreason.engines.tokens import ChatTokenizer, Turn
from audioreason.errors import EngineError

if TYPE_CHECKING:
    import torch

_LONGEST = 8192  # tokens of context that a CPU may be asked to read, whatever the model allows


def gguf_file(folder: Path) -> Path | None:
    """The single `.gguf` file of a folder without config.json; None if it is no such folder.

    Raises:
        EngineError: if there are several, so that nobody knows which is meant.
    """
    if (folder / "config.json").is_file() or not folder.is_dir():
        return None
    found = sorted(folder.glob("*.gguf"))
    if len(found) > 1:
        raise EngineError(
            f"{folder} holds {len(found)} GGUF files.", "Put the one that is meant into a folder."
        )
    return found[0] if found else None


def is_text_model(folder: Path) -> bool:
    """Whether a folder holds a language model without ears.

    Raises:
        EngineError: if it holds several GGUF files.
    """
    if gguf_file(folder) is not None:
        return True
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):  # `check_folder` says what is wrong with it
        return False
    names = config.get("architectures") or () if isinstance(config, dict) else ()
    return any(str(name).endswith("ForCausalLM") for name in names)


def check_folder(folder: Path) -> None:
    """See that a folder holds a model that an engine here can serve.

    Raises:
        EngineError: if it does not.
    """
    if not is_text_model(folder):
        read_config(folder)


def model_name(folder: Path) -> str:
    """What a model is called if nobody names it: its folder, or its GGUF file."""
    found = gguf_file(folder)
    return folder.name if found is None else found.stem


class TextTokenizer(ChatTokenizer):
    """A language model's own tokenizer and chat template; structure inside a text is broken up."""

    def __init__(self, tokenizer: Any, ends: Sequence[int]) -> None:
        self.hugging = tokenizer
        self.im_end = ends[0]
        self.end_of_text = ends[-1]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer, without structural tokens."""
        return str(self.hugging.decode(list(ids), skip_special_tokens=True))

    def spell(self, token: int) -> bytes:
        """The bytes of one token."""
        return str(self.hugging.decode([token])).encode()

    def conversation(self, turns: Sequence[Turn], audio_tokens: Sequence[int] = ()) -> list[int]:
        """Token ids of a conversation up to where the assistant answers.

        Raises:
            EngineError: if the model has no chat template, or its template refuses the turns.
        """
        messages = [
            {"role": turn.role, "content": "".join(part or "" for part in turn.parts).replace("<|", "< |")}
            for turn in turns
        ]
        try:
            text = self.hugging.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except Exception as error:
            raise EngineError(f"The model's chat template cannot take this ({first_line(error)}).") from error
        return [int(token) for token in self.hugging(text, add_special_tokens=False)["input_ids"]]


class TextEngine:
    """A language model that answers.

    Args:
        folder: see the module.
        device: "cpu", "cuda", or "auto" for a GPU if there is one.

    Raises:
        EngineError: if torch (or gguf, for such a file) is missing, or the model cannot be loaded.
    """

    def __init__(self, folder: Path, device: str = "auto") -> None:
        torch = require_torch()
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.folder = folder
        self.device = device
        self._model, self.tokenizer = _load(folder, device)
        self.context = min(int(getattr(self._model.config, "max_position_embeddings", _LONGEST)), _LONGEST)
        self._inbox: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._running = 0
        self._prompt_tokens = 0
        self._generated_tokens = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="text-engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request, emit: Callable[[Chunk], None]) -> Ticket:
        """Hand a request in; `emit` is called from the engine's thread and must be quick.

        Raises:
            EngineError: if it carries a clip, does not fit the model, or the engine is closed.
        """
        if self._closed:
            raise EngineError("The engine is closed.")
        if request.clips:
            raise EngineError("This model reads text and hears nothing.", "Ask a model that hears.")
        ids = self.tokenizer.conversation(request.turns)
        if len(ids) >= self.context:
            raise EngineError(
                f"The prompt has {len(ids)} tokens, and the model reads at most {self.context - 1}.",
                "Shorten the prompt.",
            )
        ticket = Ticket(request, ids, 0, emit)
        self._inbox.put(ticket)
        return ticket

    def load(self) -> Load:
        """How busy the engine is now."""
        return Load(self._running, self._inbox.qsize(), self._prompt_tokens, self._generated_tokens)

    def close(self) -> None:
        """End the thread once what is handed in is answered."""
        if not self._closed:
            self._closed = True
            self._inbox.put(None)
            self._thread.join()

    def __enter__(self) -> TextEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # the engine's thread

    def _run(self) -> None:
        while (ticket := self._inbox.get()) is not None:
            self._prompt_tokens += ticket.prompt_tokens
            for index in range(ticket.request.n):
                limit = min(ticket.request.draw.max_tokens, self.context - ticket.prompt_tokens)
                sample = Sample(ticket, index, limit, self.tokenizer)
                self._running = 1
                try:
                    self._write(sample)
                except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, and the engine goes on
                    sample.abort("error", f"{type(error).__name__}: {error}")
                finally:
                    self._running = 0

    def _write(self, sample: Sample) -> None:
        import torch

        read: torch.Tensor = torch.tensor([sample.ticket.ids], device=self.device)  # (1, tokens)
        memory: Any = None
        with torch.inference_mode():
            while sample.finished is None:
                if sample.ticket.cancelled.is_set() or self._closed:
                    sample.abort("abort")
                    return
                said = self._model(input_ids=read, past_key_values=memory, use_cache=True, logits_to_keep=1)
                memory = said.past_key_values
                sample.take(pick(said.logits[:, -1], [sample.chooser])[0])
                self._generated_tokens += 1
                read = torch.tensor([[sample.last]], device=self.device)


def _load(folder: Path, device: str) -> tuple[Any, TextTokenizer]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = gguf_file(folder)
    source: dict[str, Any] = {} if file is None else {"gguf_file": file.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **source)
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32 if device == "cpu" else torch.bfloat16,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            **source,
        )
    except ImportError as error:
        raise EngineError(
            f"{folder} cannot be loaded ({first_line(error)}).", "A GGUF file needs: pip install gguf"
        ) from error
    except Exception as error:  # tokenizers raises nothing narrower for a broken file
        raise EngineError(
            f"The model in {folder} cannot be loaded ({type(error).__name__}: {first_line(error)}).",
            "Check that every file of the folder is complete.",
        ) from error
    model = model.to(device).eval().requires_grad_(False)  # type: ignore[arg-type]
    ends = [tokenizer.eos_token_id, getattr(model.generation_config, "eos_token_id", None)]
    flat = [one for end in ends for one in (end if isinstance(end, list) else [end]) if one is not None]
    if not flat:
        raise EngineError(
            f"The model in {folder} has no end-of-text token.", "Use an instruction-tuned model."
        )
    return model, TextTokenizer(tokenizer, flat)
