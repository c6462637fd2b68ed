"""The researcher's own clips: kept, asked about, and deleted with everything derived from them."""

import pytest

from audioreason.errors import ItemError
from audioreason.items import load_dataset, prepare_clip, wav_bytes
from audioreason.items.own import add_own_item, delete_own_item
from audioreason.items.picture import picture, spectrogram
from audioreason.workspace import Workspace
from tests.conftest import melody


def test_an_own_clip_becomes_an_item_of_the_dataset_own(workspace: Workspace) -> None:
    sound = wav_bytes(melody(1))
    item = add_own_item(
        workspace, sound, "My Recording.WAV", " What is it? ", ["a dog ", "", "a cat"], "a cat"
    )
    data = load_dataset(workspace, "own")
    assert data.info.kind == "own"
    assert data[item.id].question == "What is it?"
    assert data[item.id].choices == ("a dog", "a cat")
    assert data[item.id].gold == 1
    clip = data.clip(item)
    assert clip is not None
    assert clip.read_bytes() == sound
    assert clip.suffix == ".wav"


def test_a_question_whose_answer_nobody_knows_has_no_gold(workspace: Workspace) -> None:
    item = add_own_item(workspace, wav_bytes(melody(1)), "x.wav", "What?", ["a", "b"])
    assert load_dataset(workspace, "own")[item.id].gold is None


@pytest.mark.parametrize(
    ("sound", "question", "choices", "answer", "words"),
    [
        (b"not sound", "What?", ["a", "b"], None, "is not wav"),
        (wav_bytes(melody(1)), "  ", ["a", "b"], None, "question is empty"),
        (wav_bytes(melody(1)), "What?", ["a"], None, "two choices"),
        (wav_bytes(melody(1)), "What?", ["a", "a"], None, "two choices"),
        (wav_bytes(melody(1)), "What?", ["a", "b"], "c", "not among"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_leaves_nothing(
    workspace: Workspace, sound: bytes, question: str, choices: list[str], answer: str | None, words: str
) -> None:
    with pytest.raises(ItemError, match=words):
        add_own_item(workspace, sound, "x.wav", question, choices, answer)
    assert not list((workspace.datasets / "own").rglob("*.*"))


def test_a_name_like_a_path_decides_nothing_but_the_ending(workspace: Workspace) -> None:
    item = add_own_item(workspace, wav_bytes(melody(1)), "../../evil.sh/../x.w;v", "What?", ["a", "b"])
    assert item.audio_path == f"audio/{item.id}.wav"


def test_deleting_takes_the_clip_and_everything_made_from_it(workspace: Workspace) -> None:
    kept = add_own_item(workspace, wav_bytes(melody(2)), "k.wav", "What?", ["a", "b"])
    item = add_own_item(workspace, wav_bytes(melody(1)), "x.wav", "What?", ["a", "b"])
    data = load_dataset(workspace, "own")
    clip = data.clip(item)
    assert clip is not None
    prepared = prepare_clip(clip, workspace.cache)
    picture(prepared, workspace.cache)
    spectrogram(prepared, workspace.cache)
    assert delete_own_item(workspace, item.id)
    assert not clip.exists()
    assert not prepared.exists()
    assert not list((workspace.cache / "pictures").glob(f"{prepared.stem}*"))
    assert [one.id for one in load_dataset(workspace, "own").items] == [kept.id]
    assert not delete_own_item(workspace, item.id)
