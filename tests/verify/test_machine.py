"""Where one provenance differs from another."""

from retune.verify.machine import differences, packages


def test_differences_name_each_part_but_the_data() -> None:
    built = {"data": {"a": "1"}, "python": "3.11", "packages": {"torch": "1"}, "machine": {"threads": 2}}
    here = {"data": {"a": "2"}, "python": "3.12", "packages": {"torch": "1"}, "machine": {"threads": 2, "gpu": "T4"}}
    assert differences(built, here) == ["python 3.11 (here 3.12)", "gpu none (here T4)"]


def test_packages_of_another_version_and_absent_ones_are_named() -> None:
    assert packages({"packages": {"numpy": "0.1", "no-such-package": "1"}})[1] == "no-such-package 1 (here none)"
    assert packages({"packages": {"numpy": "0.1"}})[0].startswith("numpy 0.1 (here ")
    assert packages({}) == []
