"""Low rank: exact at full energy, smaller for certain, and every layer's decision explained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import fx, nn

from aios_lab.models import architecture, bundle
from aios_lab.models.compression import METHODS, Compressed, Settings, find
from aios_lab.models.compression.factors import cut, forms, rank_for
from aios_lab.models.errors import BadRequest, NothingToShrink, NotStorable
from aios_lab.models.evaluation import count_parameters, held_out, measure


def graph(model: nn.Module) -> nn.Module:
    return architecture.describe(model.eval())[1]


def shrink(model: nn.Module, energy: float | None = None, ratio: float | None = None) -> Compressed:
    notes: list[float] = []
    done = find("low_rank")(graph(model), Settings.of(energy, ratio), lambda share, note: notes.append(share))
    assert notes == sorted(notes)
    return done


def low_rank_weight(*shape: int, rank: int) -> torch.Tensor:
    rows, columns = shape[0], torch.Size(shape[1:]).numel()
    return (torch.randn(rows, rank) @ torch.randn(rank, columns)).reshape(shape) / (rank * columns) ** 0.5


def separable(outputs: int, inputs: int, height: int, width: int, rank: int) -> torch.Tensor:
    down, across = torch.randn(rank, inputs, height), torch.randn(outputs, rank, width)
    return torch.einsum("kiy,okx->oiyx", down, across) / (rank * inputs * height * width) ** 0.5


@pytest.mark.parametrize("mode", ["zeros", "reflect", "circular"])
@pytest.mark.parametrize("kind", ["channel", "spatial"])
def test_a_convolution_of_low_rank_is_found_and_kept_exactly(kind: str, mode: str) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(12, 16, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2), padding_mode=mode)
    weight = low_rank_weight(16, 12, 3, 5, rank=4) if kind == "channel" else separable(16, 12, 3, 5, rank=4)
    layer.weight = nn.Parameter(weight)
    done = shrink(nn.Sequential(layer), energy=1.0)
    x = torch.randn(2, 12, 14, 17)
    assert torch.allclose(done.model(x), layer(x), atol=1e-4)
    assert done.layers[0].rank == 4
    assert kind in done.layers[0].decision
    assert count_parameters(done.model) == done.layers[0].after < done.layers[0].before


def test_full_energy_changes_no_output_and_shrinks_what_has_low_rank(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 60), nn.ReLU(), nn.Linear(60, 60), nn.ReLU(), nn.Linear(60, 5))
    model[2].weight = nn.Parameter(low_rank_weight(60, 60, rank=7))
    done = shrink(model, energy=1.0)
    x = torch.randn(9, 40)
    assert (done.model(x) - model(x)).abs().max() < 1e-4
    assert [layer.rank for layer in done.layers] == [None, 7, None]
    before, after = bundle.save(tmp_path / "a", model), bundle.save(tmp_path / "b", done.model, example=x)
    assert after.parameters == before.parameters - 60 * 60 + 7 * 120
    assert after.bytes < before.bytes
    assert torch.equal(bundle.load(after.folder)(x), done.model(x))


def test_a_square_layer_of_high_rank_is_refused_at_break_even() -> None:
    torch.manual_seed(0)
    with pytest.raises(NothingToShrink) as caught:
        shrink(nn.Linear(30, 30), energy=1.0)
    assert "rank 30 of 30 would need 1,800 weights instead of 900; it pays up to rank 14" in str(caught.value)


@pytest.mark.parametrize("shape", [(30, 30), (10, 40), (7, 3)])
def test_the_limit_is_the_last_rank_that_saves(shape: tuple[int, int]) -> None:
    form = forms(nn.Linear(shape[1], shape[0]))[0]
    weights = shape[0] * shape[1]
    assert form.size(form.limit) < weights <= form.size(form.limit + 1)


def test_break_even_of_convolutions_is_the_formula() -> None:
    outputs, inputs, height, width = 24, 10, 3, 5
    channel, spatial = forms(nn.Conv2d(inputs, outputs, (height, width)))
    weights = outputs * inputs * height * width
    assert channel.size(1) == inputs * height * width + outputs
    assert spatial.size(1) == inputs * height + outputs * width
    assert channel.limit == (weights - 1) // channel.size(1)
    assert spatial.limit == (weights - 1) // spatial.size(1)


def test_energy_rank_by_hand() -> None:
    squares = torch.tensor([16.0, 9.0, 4.0, 1.0])  # of 30: 16, 25, 29, 30
    assert [rank_for(squares, energy, 0) for energy in (0.5, 0.54, 0.83, 0.84, 0.97, 1.0)] == [
        1,
        2,
        2,
        3,
        4,
        4,
    ]
    assert rank_for(torch.tensor([1.0, 1e-16]), 1.0, 1e-13) == 1
    assert rank_for(torch.zeros(3), 1.0, 0) == 1


def test_the_cut_is_the_best_approximation() -> None:
    layer = nn.Linear(4, 4, bias=False)
    layer.weight = nn.Parameter(torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0])))
    best = cut(forms(layer)[0], Settings.of(0.8, None))
    assert best.rank == 2
    assert best.kept == pytest.approx(25 / 30)
    assert torch.allclose(
        best.layers()(torch.eye(4)).T, torch.diag(torch.tensor([4.0, 3.0, 0, 0])), atol=1e-6
    )


def test_a_ratio_bounds_every_layer() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 32, 3), nn.Flatten(), nn.Linear(32, 64))
    for layer in shrink(model, ratio=0.4).layers:
        bias = 32 if layer.kind == "Conv2d" else 64
        assert layer.after - bias <= 0.4 * (layer.before - bias)


class Odd(nn.Module):
    """Layers that must be left alone, each for its own reason."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 40)
        self.tied = nn.Linear(40, 50, bias=False)
        self.tied.weight = self.words.weight
        self.grouped = nn.Conv2d(8, 8, 3, groups=2, padding=1)
        self.read = nn.Linear(50, 50)
        self.broken = nn.Linear(50, 50)
        self.fine = nn.Linear(50, 50)
        self.unused = nn.Linear(5, 5)
        with torch.no_grad():
            self.broken.weight[0, 0] = float("nan")

    def forward(self, tokens: torch.Tensor, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.fine(self.read(self.tied(self.words(tokens)))) + self.read.weight.sum()
        return self.fine(self.broken(x)), self.grouped(image)


def test_layers_that_cannot_be_treated_say_why() -> None:
    done = shrink(Odd(), ratio=0.5)
    decisions = {layer.layer: layer.decision for layer in done.layers}
    assert "shares its weight with" in decisions["words"]
    assert "shares its weight with" in decisions["tied"]
    assert "grouped" in decisions["grouped"]
    assert "reads its weight" in decisions["read"]
    assert "NaN" in decisions["broken"]
    assert decisions["fine"].startswith("linear rank 12 of 50")
    assert "unused" not in decisions
    assert isinstance(done.model, fx.GraphModule)
    calls = [node.target for node in done.model.graph.nodes if str(node.target).startswith("fine")]
    assert calls == ["fine.0", "fine.1", "fine.0", "fine.1"]


def test_the_given_model_is_untouched() -> None:
    model = graph(nn.Sequential(nn.Linear(30, 30)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    find("low_rank")(model, Settings.of(None, 0.3), lambda share, note: None)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_half_precision_stays_half() -> None:
    done = shrink(nn.Sequential(nn.Linear(64, 64).to(torch.bfloat16)), ratio=0.5)
    assert {parameter.dtype for parameter in done.model.parameters()} == {torch.bfloat16}


def test_a_digits_cnn_loses_little(trained: nn.Module, digits: tuple, tmp_path: Path) -> None:
    data = held_out(digits[1])
    before = measure(trained, data)["accuracy"]
    done = shrink(trained, energy=0.9)
    again = shrink(bundle.load(bundle.save(tmp_path / "m", done.model).folder), energy=0.8)
    assert before > 0.9
    assert measure(done.model, data)["accuracy"] > before - 0.05
    assert count_parameters(done.model) < 0.9 * count_parameters(trained)
    assert count_parameters(again.model) < count_parameters(done.model)


def test_bad_settings_are_explained() -> None:
    for energy, ratio in ((0.9, 0.5), (0, None), (1.1, None), (None, 1.0), ("much", None), (True, None)):
        with pytest.raises(BadRequest):
            Settings.of(energy, ratio)  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="low_rank"):
        find("magic")
    assert list(METHODS) == ["low_rank"]


def test_models_without_a_matrix_or_a_graph_are_refused() -> None:
    with pytest.raises(NothingToShrink, match="no Linear or Conv2d"):
        shrink(nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()))
    with pytest.raises(NotStorable, match="import path"):
        find("low_rank")(nn.Linear(9, 9), Settings.of(0.5, None), lambda share, note: None)
