import pytest
from pydantic import ValidationError

from agentrec.policies.alignment.config import AlignmentConfig


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "ppo"},
        {"beta": 0},
        {"beta": float("inf")},
        {"epochs": 0},
        {"eval_share": 0.6},
        {"batch_size": 6, "accumulation": 4},
        {"lora_rank": 0},
        {"learning_rate": -1},
        {"seed": -1},
        {"nonsense": 1},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AlignmentConfig.model_validate(wrong)


def test_an_adapter_and_a_small_model_take_larger_steps() -> None:
    config = AlignmentConfig()
    assert config.rate("all") < config.rate("lora") < config.rate("embedded")
    assert AlignmentConfig(learning_rate=0.5).rate("all") == 0.5


def test_fine_tuning_takes_larger_steps_than_dpo() -> None:
    assert AlignmentConfig(method="rft").rate("all") > AlignmentConfig().rate("all")
