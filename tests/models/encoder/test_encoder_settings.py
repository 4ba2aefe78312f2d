import pytest

from intently.errors import SettingsError
from intently.models.encoder.settings import EncoderSettings, Gate
from intently.settings import from_mapping


def test_settings_from_a_file():
    settings = from_mapping(EncoderSettings, {"gate": "concat", "layer_bias": 2}, "x.toml")
    assert (settings.gate, settings.layer_bias) == (Gate.CONCAT, 2.0)
    assert settings.reads_augmentation
    assert EncoderSettings(cross_attention=True).reads_augmentation
    assert not EncoderSettings(layer_fusion=True).reads_augmentation


def test_parts_are_off_until_asked_for():
    off, on = EncoderSettings(num_heads=2), EncoderSettings(num_heads=2).with_all_parts()
    assert (off.layer_fusion, off.gate, off.cross_attention) == (False, Gate.NONE, False)
    assert (on.layer_fusion, on.gate, on.cross_attention, on.num_heads) == (True, Gate.GATE, True, 2)
    assert off.token_dimension == on.token_dimension == 64  # late interaction is on from the start


def test_all_parts_and_none():
    none = EncoderSettings(num_heads=2, token_dimension=9, seed=4).with_all_parts().without_parts()
    assert none == EncoderSettings(num_heads=2, token_dimension=0, seed=4)
    assert none.with_all_parts().token_dimension == EncoderSettings.token_dimension
    assert EncoderSettings(token_dimension=9).with_all_parts().token_dimension == 9


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"gate": "sum"}, "'gate' is 'sum'; it takes one of gate, concat, none"),
        ({"favoured_depth_high": 0.9}, "'favoured_depth_low' 1.0 is above 'favoured_depth_high' 0.9"),
        ({"favoured_depth_high": 1.5}, "'favoured_depth_high' is 1.5"),
        ({"temperature": 0.0}, "'temperature' is 0.0; it takes a number > 0"),
        ({"num_heads": 0}, "'num_heads' is 0"),
        ({"token_dimension": -1}, "'token_dimension' is -1"),
        ({"token_dimension": 1.5}, "'token_dimension' is 1.5"),
        ({"max_query_tokens": 2}, "'max_query_tokens' is 2"),
        ({"initial_scale": -0.1}, "'initial_scale' is -0.1"),
        ({"seed": -1}, "'seed' is -1"),
    ],
)
def test_settings_out_of_range(wrong, told):
    with pytest.raises(SettingsError, match=told):
        EncoderSettings(**wrong)
