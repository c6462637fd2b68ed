"""The parts of the Data page.

look     what is read of the datasets, kept for all tabs until a file changes
page     the shelf of datasets, the one that is open
browse   its items: search, fifty a page, one to read and hear
numbers  a dataset in numbers; `check` checks a large one in a process of its own
"""
