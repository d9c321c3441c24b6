from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cof.errors import UsageError
from cof.models.base import SubjectEcg
from cof.models.exchange import DECILES, exchange, participant


@pytest.fixture(scope="module")
def group(toy_hearts):
    """Forty subjects of thirty-five participants; every fourth has no sex."""
    heart, rng = toy_hearts(1)[0], np.random.default_rng(0)
    return [
        replace(
            heart,
            subject=f"sub-{index % 35:04d}-v{2 + index // 35}",
            rr_ms=float(rng.uniform(600, 1300)),
            sex=("M", "F", "M", "")[index % 4],
        )
        for index in range(40)
    ]


@pytest.mark.parametrize("within", ["none", "sex_and_rate"])
def test_nobody_gets_an_ecg_of_the_same_participant(group, within):
    for permutation in range(20):
        donors = exchange(group, f"0/{permutation}", within)
        assert set(donors) == {subject.subject for subject in group}
        assert all(participant(donor) != participant(name) for name, donor in donors.items())


def test_a_free_exchange_uses_every_ecg_once_and_its_number_decides_it(group):
    some, other = (exchange(group, f"0/{permutation}") for permutation in (0, 1))
    assert sorted(some.values()) == sorted(some)
    assert some != other
    assert exchange(group[::-1], "0/0") == some


def test_within_strata_sex_and_rate_stay(toy_hearts):
    """Four of one sex in every decile: the exchange stays in them, and uses every ECG once."""
    heart = toy_hearts(1)[0]
    rates = np.repeat(np.linspace(50, 90, DECILES), 8) + np.tile(np.arange(8) / 10, DECILES)
    group = [
        replace(heart, subject=f"sub-{index:04d}-v2", rr_ms=60_000 / rate, sex="MF"[index % 2])
        for index, rate in enumerate(rates)
    ]
    by_name = {subject.subject: subject for subject in group}
    donors = exchange(group, "3", "sex_and_rate")
    assert sorted(donors.values()) == sorted(donors)
    for name, donor in donors.items():
        assert by_name[name].sex == by_name[donor].sex
        assert abs(60_000 / by_name[name].rr_ms - 60_000 / by_name[donor].rr_ms) < 1
    free = exchange(group, "3")
    assert any(by_name[name].sex != by_name[donor].sex for name, donor in free.items())


def test_one_alone_in_a_stratum_gets_the_nearest_rate(toy_hearts):
    heart = toy_hearts(1)[0]
    group = [
        replace(heart, subject=f"sub-{index}-v2", rr_ms=rr, sex=sex)
        for index, (rr, sex) in enumerate([(800.0, "M"), (810.0, "F"), (1000.0, "M"), (790.0, "F")])
    ]
    donors = exchange(group, "0", "sex_and_rate")
    assert donors == {"sub-0-v2": "sub-2-v2", "sub-2-v2": "sub-0-v2", "sub-1-v2": "sub-3-v2", "sub-3-v2": "sub-1-v2"}


def test_one_participant_alone_has_nobody_to_exchange_with(toy_hearts):
    heart = toy_hearts(1)[0]
    with pytest.raises(UsageError, match="two participants"):
        exchange([heart, replace(heart, subject=heart.subject.replace("-v2", "-v3"))], "0")


@settings(max_examples=60, deadline=None)
@given(visits=st.lists(st.integers(1, 3), min_size=2, max_size=9), seed=st.integers(0, 99))
def test_any_group_of_two_participants_can_exchange(visits, seed):
    names = [f"sub-{who}-v{visit}" for who, count in enumerate(visits) for visit in range(count)]
    rng = np.random.default_rng(seed)
    group = [
        SubjectEcg(name, np.empty(0), rng.uniform(600, 1300), sex=str(rng.choice(["M", "F", ""]))) for name in names
    ]
    for within in ("none", "sex_and_rate"):
        donors = exchange(group, str(seed), within)
        assert sorted(donors) == sorted(names)
        assert all(participant(name) != participant(donor) for name, donor in donors.items())
