"""Settings"""


def choose():
    pass


def add():
    pass


def try_out():
    pass
