"""audioreason: the backend of a lab for making audio language models reason better.

Contents: `items` (questions with clips), `prompts` (templates), `answers` (text to a scored choice),
`inference` (endpoints), `engines` (serving models), `runs` (records and the catalog), `stats`,
`evaluate` (one run), `jobs`, `soundcheck` (the shipped benchmark). Knows nothing about streamlit.
"""

__version__ = "0.1.0"
