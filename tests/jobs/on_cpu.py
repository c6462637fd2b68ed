"""The kind `rest` on a machine whose GPU is a stand-in: it is leased, and training is on the CPU."""

from __future__ import annotations

from dataclasses import replace

from audioreason.jobs.kinds.rest import KIND
from audioreason.rest import training

_recipe = training.round_recipe
training.round_recipe = lambda config, number: _recipe(config, number).model_copy(update={"device": "cpu"})
KINDS = [replace(KIND, name="rest-on-cpu")]
