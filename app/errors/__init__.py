"""The Error explorer page: where a run fails, what it sounds like, and what somebody made of it."""
