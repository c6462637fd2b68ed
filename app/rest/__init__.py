"""The parts of the ReST page.

address     experiment, round, view, filters and candidate, as the URL says them
look        what is read, kept for all tabs until a file changes
page        header, warnings, the view that was chosen
rounds      rounds side by side, zones beside guessing, accuracy, lineage
zones       histogram of right answers, zones by subcategory
candidates  what was kept and what was not; `candidate` one of them with player, trace and reason
training    curves of a round's training; `curves` how they are drawn
words       numbers and sentences; `ledger`, `strips` and `columns` three small components
"""
