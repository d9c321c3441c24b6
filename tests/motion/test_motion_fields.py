import torch

from cof.motion.fields import load_displacement, load_record, save_displacement


def test_round_trip_in_half_precision(tmp_path):
    u = 30 * (2 * torch.rand(5, 3, 4, 6, 6) - 1)
    record = {"measures": {"folded_share": 0.25}, "provenance": {"config_hash": "abc"}}
    save_displacement(tmp_path / "batch" / "s.safetensors", u, record)
    found = load_displacement(tmp_path / "batch" / "s.safetensors")
    assert found.dtype == torch.float16
    assert (found.float() - u).abs().max() < 0.016
    assert load_record(tmp_path / "batch" / "s.safetensors") == record


def test_the_same_motion_gives_the_same_bytes(tmp_path):
    u, record = torch.rand(3, 3, 2, 4, 4), {"b": 1, "a": {"y": 2, "x": 3}, "c": 0.5}
    save_displacement(tmp_path / "one", u, record)
    save_displacement(tmp_path / "two", u, dict(reversed(record.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
