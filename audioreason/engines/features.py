"""From samples to the log-mel spectrogram that Qwen3-Omni's audio tower takes, and how many tokens it
becomes.

Equal to transformers' `WhisperFeatureExtractor` with 128 mels (tested), without importing transformers, on
any device and for batches of different lengths. Knows nothing about files or models.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

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


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The log-mel spectrogram of one clip, 16 kHz mono in [-1, 1]: (128, frames)."""
    import torch

    features, _ = log_mel_batch([torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))])
    return np.asarray(features[0].numpy(), dtype=np.float32)


def log_mel_batch(clips: Sequence[torch.Tensor], device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Spectrograms of several clips, each as if it were alone.

    Args:
        clips: one-dimensional float32 tensors, 16 kHz, on the CPU or on `device`; at least one sample each.
        device: where to compute.

    Returns:
        Features (batch, 128, longest) with zeros after a clip's end, and frames per clip (batch,), both on
        `device`.
    """
    import torch
    from torch.nn import functional

    frames = [frame_count(len(clip)) for clip in clips]
    longest = max(frames)
    padded = torch.zeros(len(clips), longest * HOP + N_FFT)
    for row, (clip, count) in enumerate(zip(clips, frames, strict=True)):
        whole = functional.pad(clip.cpu(), (0, count * HOP - len(clip)))
        if len(whole) <= N_FFT // 2:  # too short to be mirrored
            whole = functional.pad(whole, (0, N_FFT // 2 + HOP - len(whole)))
        mirrored = functional.pad(whole[None], (N_FFT // 2, N_FFT // 2), mode="reflect")[0]
        length = min(len(mirrored), padded.shape[1])
        padded[row, :length] = mirrored[:length]
    padded = padded.to(device, non_blocking=True)
    window = torch.hann_window(N_FFT, device=device)
    spectrum = torch.stft(padded, N_FFT, HOP, window=window, center=False, return_complex=True)
    power = (spectrum[..., :longest].abs() ** 2).contiguous()  # (batch, bins, frames)
    mel = torch.from_numpy(mel_filters()).to(device).T @ power  # (batch, mels, frames)
    lengths = torch.tensor(frames, device=device)
    inside = torch.arange(longest, device=device)[None, None, :] < lengths[:, None, None]
    logs = mel.clamp(min=1e-10).log10().masked_fill(~inside, -torch.inf)
    logs = torch.maximum(logs, logs.amax(dim=(1, 2), keepdim=True) - 8.0)
    return ((logs + 4.0) / 4.0).masked_fill(~inside, 0.0), lengths
