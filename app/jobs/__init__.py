"""The parts of the Launch and Jobs pages.

launch    pick a kind, fill its form, see what it would do, start
forms     a form from a kind's settings
rail      what runs, waits and has ended
detail    one job: actions, timeline, metrics, log
charts    the timeline and a metric
logview   the end of a log, which follows what comes
look      what all of them read, once for all tabs
"""
