"""The one place where an item's fields become template variables."""

from __future__ import annotations

from audioreason.items import Item
from audioreason.prompts import Prompt, Rendered, render


def render_for(prompt: Prompt, item: Item) -> Rendered:
    """Exactly the text that is sent for an item.

    Raises:
        PromptError: if the prompt cannot be rendered for it.
    """
    return render(
        prompt,
        question=item.question,
        choices=item.choices,
        language=item.language,
        modality=item.modality,
        category=item.layer,
        subcategory=item.subcategory,
    )
