from cof.artefacts.provenance import differences, digest, stamp, versions


def test_digest_depends_on_values_not_on_order() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_the_stamp_names_settings_and_versions() -> None:
    record = stamp({"frames": 20})
    assert record["config_hash"] == digest({"frames": 20})
    assert versions()["numpy"] == record["versions"]["numpy"] != "absent"


def test_differences_are_told_by_the_key_within_its_section() -> None:
    made = {"iterations": 600, "field": {"modes": 32, "channels": [16, 32], "gone": 1}, "augmentation": None}
    asked = {"iterations": 600, "field": {"modes": 0, "channels": [16, 32], "new": 2}, "augmentation": {"scale": 0.1}}
    assert sorted(differences(made, asked)) == ['augmentation null (here {"scale": 0.1})', "field.modes 32 (here 0)"]
    assert not list(differences(made, made))
