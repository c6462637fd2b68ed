"""The spectrogram is the one the model was published with, clip by clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_clips import noise
from transformers import WhisperFeatureExtractor
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import _get_feat_extract_output_lengths

from audioreason.engines.features import audio_token_count, frame_count, log_mel, log_mel_batch


@pytest.mark.parametrize("samples", [16_000, 16_001, 51_200, 112_077])
def test_log_mel_equals_transformers_extractor_on_a_clip_padded_to_whole_frames(samples: int) -> None:
    clip = noise(8)[:samples] * np.sin(np.arange(samples) / 3000).astype(np.float32)
    extractor = WhisperFeatureExtractor(feature_size=128)
    padded = np.pad(clip, (0, -samples % 160))
    expected = extractor(padded, sampling_rate=16_000, padding=True, truncation=False, return_tensors="np")
    found = log_mel(clip)
    assert found.shape == (128, frame_count(samples))
    np.testing.assert_allclose(found, expected["input_features"][0], atol=1e-4)


def test_a_clip_has_the_same_features_alone_and_in_a_batch() -> None:
    clips = [noise(1.0, 1), noise(3.37, 2), noise(0.02, 3)]
    features, frames = log_mel_batch(clips)
    for row, clip in enumerate(clips):
        alone = log_mel(clip)
        np.testing.assert_allclose(features[row, :, : frames[row]].numpy(), alone, atol=1e-5)
        assert not features[row, :, frames[row] :].any()


def test_silence_is_finite() -> None:
    assert np.isfinite(log_mel(np.zeros(4000, np.float32))).all()


def test_audio_token_count_is_the_towers() -> None:
    frames = torch.arange(1, 3100)
    expected = _get_feat_extract_output_lengths(frames).tolist()
    assert [audio_token_count(int(count)) for count in frames] == expected
    assert audio_token_count(frame_count(5 * 16_000)) == 65
