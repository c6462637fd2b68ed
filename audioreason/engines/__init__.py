"""The local engine and its model folders.

`features` (samples to log-mels), `tokens` (chat text to tokens), `pocket` (the Pocket Listener's shape,
folders on disk), `thinker` (the arithmetic), `slots` and `sampling` (rows that generate together),
`samples` and `local` (the engine), `media`, `chat`, `replies` and `server` (the API), `launch` (as a
child process). Nothing is imported here, because torch is slow to import.
"""
