"""Options as the settings of a model: what a field refuses is said of the option that was typed.

Knows pydantic's models and typer's errors; knows nothing about commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

    Model = TypeVar("Model", bound=BaseModel)


def settings_of(model: type[Model], values: Mapping[str, Any]) -> Model:
    """`values` as the fields of a model; a field `top_p` was typed as `--top-p`.

    Raises:
        typer.BadParameter: naming the first option that is wrong, and why.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        option = str(first["loc"][0]).replace("_", "-") if first["loc"] else ""
        said = f"{first['msg'].removeprefix('Value error, ')}."
        raise typer.BadParameter(said, param_hint=f"--{option}" if option else None) from error
