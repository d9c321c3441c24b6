import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fuzz_ecg


@pytest.mark.slow
def test_mutated_ecgs_raise_nothing_but_typed_errors(tmp_path):
    summary = fuzz_ecg.fuzz(2000, seed=1, keep=tmp_path)
    assert not summary.faults, "\n".join(summary.faults)
    assert sum(summary.outcomes.values()) == 2000
    # The wounds are neither all deadly nor all harmless.
    assert 100 < summary.outcomes["readable"] < 1900
    assert len(summary.outcomes) > 5
    assert summary.slowest_s < fuzz_ecg.LONGEST_S
    assert summary.peak_mib < fuzz_ecg.MOST_MIB
