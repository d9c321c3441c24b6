import pytest

from cof.heart.codes import read_map, write_map


@pytest.mark.parametrize(
    ("given", "codes"),
    [
        ("1:3,2:2,3:1", {1: 3, 2: 2, 3: 1}),
        (" 255 : 1 , 170:2", {255: 1, 170: 2}),
        ("0:0,1:1,9:0", {0: 0, 1: 1, 9: 0}),
        ({1: 3, "2": "2"}, {1: 3, 2: 2}),
    ],
)
def test_maps_of_codes_are_read_and_written(given, codes):
    assert read_map(given) == codes
    assert read_map(write_map(codes)) == codes


def test_a_map_is_written_in_the_order_of_their_codes():
    assert write_map({3: 1, 1: 3, 2: 2}) == "1:3,2:2,3:1"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "'' is not a pair of codes"),
        ("1-3", "'1-3' is not a pair of codes; a map looks like 1:3,2:2,3:1"),
        ("1:3,", "'' is not a pair"),
        ("1:3;2:2", "is not a pair"),
        ("1:-3", "is not a pair"),
        ("1.0:3", "is not a pair"),
        ("1:4", "1:4 maps to 4; ours are 0 background, 1 LV, 2 myocardium, 3 RV"),
        ("0:1", "0:1 maps the background"),
        ("1:3,1:2", "code 1 is mapped twice"),
        (63, "'63' is not a map of codes .* with quotes"),  # what YAML makes of 1:3
    ],
)
def test_what_is_no_map_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        read_map(given)
