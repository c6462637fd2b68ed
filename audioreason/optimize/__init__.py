"""Prompt optimisation: MIPROv2 and GEPA through DSPy, on exactly the prompt that will be deployed.

config      OptimizeConfig: what to search, how long, judged by what
record      what a search leaves on disk (`shapes`), and how it is read (pages read this alone)
parts       train, dev and test: by source clip, spread evenly, decided once
texts       candidate <-> prompt: the instruction text that DSPy edits, as our own template
judge       the metric and GEPA's feedback, from our scorer
asking      our own road to the task model, with every answer kept: nothing is asked twice
proposing   the text model that writes new prompts
seam        the adapter, program and callbacks that tie DSPy to the above (the one place that knows DSPy)
search      one search from plan to saved prompt

Importing this package imports no DSPy; `seam` and `search` do when they run.
"""
