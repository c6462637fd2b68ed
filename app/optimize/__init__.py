"""The parts of the Optimize page.

address     which search, which candidate, what is open of it, as the URL says it
look        what is read, kept for all tabs until a file of the search changes
page        the header, the facts, what runs; puts the rest together
trials      the chart of trials, the table of candidates, the tree of who was made from whom
result      train, dev and test beside each other, and what may be concluded
chosen      one candidate: changes, text, and where else it can be taken
items       where it won and lost, with the player and both answers
requests    what the proposer was told and what it wrote
charts      drawing instructions; `words` numbers and sentences
"""
