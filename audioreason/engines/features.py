"""From samples to the log-mel spectrogram that Qwen3-Omni's audio tower takes, and how many tokens it
becomes.

Equal to transformers' `WhisperFeatureExtractor` with 128 mels (tested), without importing transformers, on
any device and for batches of different lengths. Knows nothing about files or models.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Sample = TypeVar("Sample", np.float32, np.int16)

SAMPLE_RATE = 16_000  # Hz
MELS = 128
HOP = 160  # samples: 100 frames a second
N_FFT = 400
CHUNK_FRAMES = 100  # the audio tower convolves second by second (n_window 50, twice)
CHUNK_TOKENS = 13  # what a full second becomes


@functools.cache
def mel_filters(mels: int = MELS) -> NDArray[np.float32]:
    """Triangular filters on Slaney's mel scale, area-normalised, 0 to 8,000 Hz: (201 bins, mels).

    Slaney's scale (Auditory Toolbox, 1998): linear below 1,000 Hz at 200/3 Hz a mel, then 27 steps a factor
    of 6.4.
    """
    step, knee = 200.0 / 3, 1000.0
    log_step = math.log(6.4) / 27.0
    top = knee / step + math.log(SAMPLE_RATE / 2 / knee) / log_step
    points = np.linspace(0.0, top, mels + 2)
    linear = points * step
    curved = knee * np.exp(log_step * (points - knee / step))
    edges = np.where(points >= knee / step, curved, linear)  # Hz, (mels + 2,)
    bins = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    width = np.diff(edges)
    slopes = edges[None, :] - bins[:, None]  # (bins, mels + 2)
    rising = -slopes[:, :-2] / width[:-1]
    falling = slopes[:, 2:] / width[1:]
    filters = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))
    return filters.astype(np.float32)


def frame_count(samples: int) -> int:
    """Mel frames of a clip: one per started hop, because the end is padded with silence as vLLM does."""
    return -(-samples // HOP)


def audio_token_count(frames: int) -> int:
    """Audio tokens that the tower makes of this many mel frames: 13 a second, the rest halved three times.

    The same arithmetic as transformers' `_get_feat_extract_output_lengths` for qwen3_omni_moe.
    """
    full, rest = divmod(frames, CHUNK_FRAMES)
    for _ in range(3):
        rest = (rest + 1) // 2
    return full * CHUNK_TOKENS + rest


def mirror(clip: NDArray[Sample]) -> NDArray[Sample]:
    """A clip (samples,) made ready for frames: silence to a whole hop, 200 mirrored samples at both ends."""
    half = N_FFT // 2
    whole = np.pad(clip, (0, -len(clip) % HOP))
    if len(whole) <= half:  # too short to be mirrored
        whole = np.pad(whole, (0, half + HOP - len(whole)))
    return np.pad(whole, half, mode="reflect")[: frame_count(len(clip)) * HOP + N_FFT]


def stack(clips: Sequence[NDArray[Sample]]) -> tuple[NDArray[Sample], list[int]]:
    """Mirrored clips as one array (clips, longest), silent after each one's end, and frames per clip."""
    mirrored = [mirror(clip) for clip in clips]
    stacked = np.zeros((len(clips), max(len(clip) for clip in mirrored)), mirrored[0].dtype)
    for row, clip in zip(stacked, mirrored, strict=True):
        row[: len(clip)] = clip
    return stacked, [frame_count(len(clip)) for clip in clips]


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The log-mel spectrogram of one clip, 16 kHz mono in [-1, 1]: (128, frames)."""
    features, _ = log_mel_batch([samples])
    return np.asarray(features[0].numpy(), dtype=np.float32)


def log_mel_batch(
    clips: Sequence[NDArray[np.float32]], device: str = "cpu"
) -> tuple[torch.Tensor, list[int]]:
    """Spectrograms of several clips, each as if it were alone.

    Args:
        clips: float32 samples at 16 kHz, at least one each.
        device: where to compute.

    Returns:
        Features (batch, 128, longest) on `device`, zero after a clip's end, and frames per clip.
    """
    stacked, frames = stack(clips)
    return log_mel_stacked(send(stacked, device), frames), frames


def log_mel_stacked(stacked: torch.Tensor, frames: Sequence[int]) -> torch.Tensor:
    """Spectrograms (batch, 128, longest) of `stack`'s array on any device: floats in [-1, 1], or 16 bits."""
    import torch

    device = stacked.device
    sound = stacked.float() if stacked.is_floating_point() else stacked.float() / 32768.0
    window = torch.hann_window(N_FFT, device=device)
    spectrum = torch.stft(sound, N_FFT, HOP, window=window, center=False, return_complex=True)
    longest = max(frames)
    power = (spectrum[..., :longest].abs() ** 2).contiguous()  # (batch, bins, frames)
    mel = _filters_on(str(device)).T @ power  # (batch, mels, frames)
    lengths = send(frames, device)
    inside = torch.arange(longest, device=device)[None, None, :] < lengths[:, None, None]
    logs = mel.clamp(min=1e-10).log10().masked_fill(~inside, -torch.inf)
    logs = torch.maximum(logs, logs.amax(dim=(1, 2), keepdim=True) - 8.0)
    return ((logs + 4.0) / 4.0).masked_fill(~inside, 0.0)


def send(values: NDArray[Any] | Sequence[float], device: str | torch.device) -> torch.Tensor:
    """Numbers as a tensor on a device; a GPU takes them in its own time, from pinned memory."""
    import torch

    tensor = torch.as_tensor(values)
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@functools.lru_cache(maxsize=8)
def _filters_on(device: str) -> torch.Tensor:
    import torch

    return torch.from_numpy(mel_filters()).to(device)
