"""The road to a leaderboard: MMAR's submission form, and the process score of the Audio Reasoning Challenge.

`submission` writes and checks the file that is handed in; `rubrics` asks a judge how well correct answers
were reasoned; `calibration` holds the judge against ratings by hand. Knows nothing about pages or jobs.
"""

from audioreason.challenge.calibration import (
    Calibration,
    calibrate,
    drawn,
    hand_ratings,
    rate_by_hand,
    ratings_of,
)
from audioreason.challenge.rubrics import (
    ROUNDS,
    Ahead,
    ProcessScore,
    Rating,
    foresee,
    judges,
    process_score,
    rate,
    ratings_stamp,
    read_ratings,
    right_answers,
)
from audioreason.challenge.submission import (
    FILE_NAMES,
    MOST_CHARACTERS,
    Checked,
    Problem,
    Submission,
    check_submission,
    handed_in,
    make_submission,
    write_submission,
)

__all__ = [
    "FILE_NAMES",
    "MOST_CHARACTERS",
    "ROUNDS",
    "Ahead",
    "Calibration",
    "Checked",
    "Problem",
    "ProcessScore",
    "Rating",
    "Submission",
    "calibrate",
    "check_submission",
    "drawn",
    "foresee",
    "hand_ratings",
    "handed_in",
    "judges",
    "make_submission",
    "process_score",
    "rate",
    "rate_by_hand",
    "ratings_of",
    "ratings_stamp",
    "read_ratings",
    "right_answers",
    "write_submission",
]
