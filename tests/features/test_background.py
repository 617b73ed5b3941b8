"""Decoding in a thread beside the extractors."""

import contextlib
import itertools
import threading

import numpy as np
import pytest
from tiny_network import Tiny

from cinebold.errors import InputError
from cinebold.features import extraction
from cinebold.features.background import Sharing, in_background, sharing
from cinebold.features.extraction import extract_features
from cinebold.features.registry import create_extractor


def decoding_threads():
    return [thread for thread in threading.enumerate() if thread.name == "cinebold-decoding"]


def test_errors_come_after_what_was_made_before_them():
    def items():
        yield from range(3)
        raise InputError("the film ends here")

    taken = []
    with pytest.raises(InputError, match="ends here"):
        for item in in_background(items(), 2):
            taken.append(item)
    assert taken == [0, 1, 2]
    assert not decoding_threads()


def test_the_thread_stays_near_and_ends_with_whoever_takes():
    made, closed_in = [], []

    def items():
        try:
            for item in itertools.count():
                made.append(item)
                yield item
        finally:
            closed_in.append(threading.current_thread().name)

    ahead = in_background(items(), 3)
    assert [next(ahead) for _ in range(5)] == [0, 1, 2, 3, 4]
    ahead.close()
    assert closed_in == ["cinebold-decoding"]
    assert not decoding_threads()
    assert len(made) <= 5 + 3 + 2


@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
def test_no_more_threads_than_were_asked_for(n_threads):
    alone, network = create_extractor("low_level"), Tiny()
    for extractors in ([alone], [network], [alone, network]):
        assert sharing(extractors, n_threads) == Sharing(n_threads, None, False)
    network.device = "cuda:1"
    assert sharing([alone, network], n_threads) == Sharing(max(1, n_threads - 1), 1, True)


@pytest.mark.parametrize("damaged", [False, True])
def test_the_same_features_either_way(moving_film, damaged, monkeypatch):
    if damaged:
        content = bytearray(moving_film.read_bytes())
        content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
        moving_film.write_bytes(content)
    names = []

    def extracted(in_thread):
        monkeypatch.setattr(extraction, "sharing", lambda *_: Sharing(1, 1, in_thread))
        extractors = {"tiny": Tiny(), "low": create_extractor("low_level")}
        prepare = extractors["tiny"].prepare
        extractors["tiny"].prepare = lambda frame: (names.append(len(decoding_threads())), prepare(frame))[1]
        with pytest.warns(UserWarning) if damaged else contextlib.nullcontext():
            return extract_features(moving_film, extractors)

    one, other = extracted(False), extracted(True)
    assert set(names) == {0, 1}
    for key in one:
        np.testing.assert_array_equal(one[key].values, other[key].values)
        assert one[key].provenance == other[key].provenance
        assert bool(one[key].provenance["warnings"]) == damaged


def test_an_extractor_that_fails_ends_the_thread(moving_film, monkeypatch):
    monkeypatch.setattr(extraction, "sharing", lambda *_: Sharing(1, 1, True))
    tiny = Tiny()
    tiny.values = None
    with pytest.raises(TypeError):
        extract_features(moving_film, {"a": tiny})
    assert not decoding_threads()
