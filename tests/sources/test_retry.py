"""How long a request waits before it is sent again."""

import email.utils
import time

import pytest

from retune.sources import retry


@pytest.mark.parametrize(("failures", "asked", "seconds"), [
    (1, None, 1), (2, None, 2), (5, None, 16), (20, None, 60), (1, 7.5, 7.5), (3, 0.0, 0), (1, 9000.0, 600),
])  # fmt: skip
def test_pauses_double_up_to_a_limit_unless_the_server_asks_for_another(failures, asked, seconds):
    assert retry.pause(failures, asked) == seconds


@pytest.mark.parametrize(("header", "seconds"), [(None, None), ("", None), ("soon", None), ("12", 12), ("-3", 0)])
def test_a_header_in_seconds(header, seconds):
    assert retry.asked(header) == seconds


def test_a_header_with_a_date():
    assert retry.asked(email.utils.formatdate(time.time() + 100)) == pytest.approx(100, abs=3)
