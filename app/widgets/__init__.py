"""Pieces used by more than one page. Each is a function that draws itself where it is called."""
