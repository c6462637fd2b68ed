"""One thin file per page: read the widgets, call audioreason, draw."""
