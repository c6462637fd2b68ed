"""The parts of the Launch and Jobs pages.

launch    pick a kind, fill its form, see what it would do, start
forms     a form from a kind's settings
rail      what runs, waits and has ended; which job is shown
detail    one job: actions, metrics, log
monitor   the components that poll; their scripts and styles are in web/
shown     jobs as the browser is told about them
charts    a metric against its steps
look      what all of them read, once for all tabs
"""
