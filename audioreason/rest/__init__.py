"""Self-training (ReST): generate, filter, train, merge, evaluate, and again, resumed from its records alone.

loop         all rounds of an experiment; what is next follows from the records. Begin here
config       RestConfig: what an experiment is asked to do, and its presets
record       what it leaves on disk (pages and commands read this); `settling` begins or goes on with it
problems     a round's problems: a dataset's, or a `curriculum`'s, aimed at what the model solves sometimes
generate     first phase: candidates. `phases` is what all phases share
choosing     second: scores meet the `filter`; `zones` how hard a problem is, `ranking` which answer is kept
training     third: an adapter, and the model that it becomes; `nothing` says why there may be none
evaluation   last: every prompt again; `forgetting` what was lost and learned beyond luck
outline      an experiment as a reader wants it, with warnings; `view` its tables; `published` the paper's
pocket       the experiment at pocket size on one GPU, without a server; `pocket_report` its tables

Importing this package imports neither torch nor pandas.
"""
