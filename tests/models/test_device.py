from dataclasses import dataclass

import pytest
import torch

from intently.build.settings import BuildSettings
from intently.errors import SettingsError
from intently.lab.baselines.task import Budget
from intently.models.causal_lm import LanguageModelSettings
from intently.models.device import check_device, has_fast_bf16, require_device


@dataclass(frozen=True)
class Chosen:
    device: object


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "mps"])
def test_a_device_may_be_one_that_is_not_here(name):
    check_device(Chosen(name))
    assert BuildSettings(device=name).device == name


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "显卡", None])
@pytest.mark.parametrize("settings", [Chosen, BuildSettings, LanguageModelSettings, Budget])
def test_a_name_of_no_device_is_refused(settings, name):
    with pytest.raises(SettingsError, match=rf"'device' is {name!r}; it takes a device such as 'cpu', 'cuda'"):
        check_device(settings(device=name))


@pytest.mark.parametrize("name", ["cuda:99", "meta"])
def test_a_device_that_does_not_compute_here_is_refused_with_a_cure(name):
    require_device("cpu", "device")
    wanted = rf"^'teacher\.model\.device' is '{name}', which PyTorch cannot use .*\(.+\); set it to 'cpu', or install"
    with pytest.raises(SettingsError, match=wanted) as error:
        require_device(name, "teacher.model.device")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("limit", ["AVX2", "AVX512_CORE_VNNI", "avx512_core_vnni"])
def test_bfloat16_is_not_fast_where_onednn_may_not_use_it(monkeypatch, limit):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert not has_fast_bf16(torch.device("cpu"))


def test_a_limit_of_onednn_that_has_bfloat16_changes_nothing(monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    without = has_fast_bf16(torch.device("cpu"))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    assert has_fast_bf16(torch.device("cpu")) == without
