"""The parts of the Compare page.

address   what is compared, as the URL says it
look      comparisons, kept for all tabs until a run or an erratum changes
picker    the header: runs, baseline, score, split, errata
overview  verdict, leaderboard, cells, differences, cost, outcomes
flips     the items of a cell, and one of them with both traces
paper     the paper's table beside the lab's own runs
export    everything as files
charts    drawing instructions; `words` numbers and sentences; `runlist` and `cells` two small components
"""
