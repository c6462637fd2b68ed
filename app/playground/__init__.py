"""The playground's parts: item, variant, editor, answer, and the three ways of putting them together."""
