"""What people say about predictions: tags, notes, and errata of items. Above runs, below every comparison."""

from audioreason.review.annotations import STARTER_TAGS, Annotations, Erratum, Tag

__all__ = ["STARTER_TAGS", "Annotations", "Erratum", "Tag"]
