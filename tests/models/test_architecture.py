"""Architectures as data: what goes out comes back with the same outputs, and nothing else gets in."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from aios_lab.models import architecture, tensors
from aios_lab.models.errors import BadBundle, NotStorable


def there_and_back(model: nn.Module) -> nn.Module:
    data, owner = architecture.describe(model)
    stored, about = tensors.collect(owner)
    rebuilt = architecture.build(json.loads(json.dumps(data)))
    tensors.assign(rebuilt, stored, json.loads(json.dumps(about)))
    return rebuilt


class Attention(nn.Module):
    """A hand-written Transformer block with a causal mask, tied embeddings and shape arithmetic."""

    def __init__(self, words: int = 11, width: int = 16, heads: int = 4, length: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.words = nn.Embedding(words, width)
        self.place = nn.Parameter(torch.randn(length, width))
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.words.weight
        self.register_buffer("mask", torch.tril(torch.ones(length, length)), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, length = tokens.shape
        x = self.words(tokens) + self.place[:length]
        parts = self.qkv(self.norm(x)).chunk(3, dim=-1)
        q, k, v = (part.view(batch, length, self.heads, -1).transpose(1, 2) for part in parts)
        scores = q @ k.transpose(-2, -1) / math.sqrt(k.size(-1))
        scores = scores.masked_fill(self.mask[:length, :length] == 0, float("-inf"))
        x = x + self.mix((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, -1))
        return self.head(x + self.feed(x))


class Words(nn.Module):
    """Constants, a keyword with a default, slices, dtypes, and a dictionary as output."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 6, batch_first=True)
        self.norm = nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))

    def forward(self, x: torch.Tensor, scale: float = 2.0) -> dict[str, Any]:
        hidden, (last, _) = self.rnn(x)
        y = self.norm(hidden[:, -1]) * scale + torch.tensor([0.0, 1.0, math.inf])
        y = F.interpolate(y[:, None, ..., :2], scale_factor=2.0).to(torch.float64)
        return {"y": y.clamp(max=5), "last": (last.sum(0), torch.arange(3, device=x.device))}


def flat(output: Any) -> list[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return [output]
    return [
        tensor for item in (output.values() if isinstance(output, dict) else output) for tensor in flat(item)
    ]


MODELS = {
    "mlp": (nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2)), (3, 3, 4)),
    "words": (Words(), (2, 5, 4)),
    "one layer": (nn.Linear(4, 2, bias=False), (3, 4)),
    "encoder layer": (nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True), (2, 3, 8)),
    "convolutions": (
        nn.Sequential(
            nn.Conv2d(2, 4, (3, 1), padding="same", padding_mode="reflect", bias=False),
            nn.GroupNorm(2, 4),
            nn.ConvTranspose2d(4, 4, 2, stride=2, groups=2),
            nn.AdaptiveAvgPool2d((2, None)),
            nn.PReLU(),
            nn.Unflatten(1, (2, 2)),
        ),
        (2, 2, 6, 6),
    ),
    "half": (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).to(torch.bfloat16), (2, 4)),
}


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_the_same_after_the_way_through_json(name: str) -> None:
    model, shape = MODELS[name]
    model.eval()
    x = torch.randn(shape, dtype=next(model.parameters()).dtype)
    for expected, found in zip(flat(model(x)), flat(there_and_back(model)(x)), strict=True):
        assert torch.equal(expected, found)


def test_a_cnn_with_a_residual_sum(trained: nn.Module) -> None:
    x = torch.randn(4, 1, 8, 8)
    rebuilt = there_and_back(trained)
    assert torch.equal(trained(x), rebuilt(x))
    assert rebuilt.state_dict().keys() == trained.state_dict().keys()


def test_attention_keeps_its_mask_and_its_tied_weights() -> None:
    model = Attention().eval()
    rebuilt = there_and_back(model)
    tokens = torch.randint(11, (2, 5))
    assert torch.equal(model(tokens), rebuilt(tokens))
    assert rebuilt.get_parameter("head.weight") is rebuilt.get_parameter("words.weight")


def test_describing_leaves_the_model_alone_and_is_repeatable() -> None:
    model = Words().train()
    names = set(vars(model))
    first, _ = architecture.describe(model)
    assert model.training
    assert model.rnn.training
    assert set(vars(model)) == names
    again, _ = architecture.describe(there_and_back(model))
    assert again == first


def test_frozen_weights_stay_frozen() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    rebuilt = there_and_back(model)
    assert [parameter.requires_grad for parameter in rebuilt.parameters()] == [False, False, True, True]


def test_wrappers_are_taken_off() -> None:
    inner = nn.Sequential(nn.Linear(2, 2))
    assert there_and_back(nn.DataParallel(inner)).state_dict().keys() == inner.state_dict().keys()
    assert there_and_back(torch.compile(inner)).state_dict().keys() == inner.state_dict().keys()


def test_ddp_is_taken_off(tmp_path: Any) -> None:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        inner = nn.Sequential(nn.Linear(2, 2))
        wrapped = nn.parallel.DistributedDataParallel(inner)
        assert there_and_back(wrapped).state_dict().keys() == inner.state_dict().keys()
    finally:
        torch.distributed.destroy_process_group()


class Branch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x
        return -x


class Foreign(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(x.numpy())


class Many(nn.Module):
    def forward(self, *parts: torch.Tensor) -> torch.Tensor:
        return parts[0]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Linear(2, 2), Branch()), ("layer '1'", "if x.sum() > 0:", "torch.where")),
        (Foreign(), ("numpy", "torch.from_numpy(x.numpy())")),
        (Many(), ("*parts",)),
    ],
)
def test_what_cannot_be_stored_is_named_with_its_line(model: nn.Module, words: tuple[str, ...]) -> None:
    with pytest.raises(NotStorable) as caught:
        architecture.describe(model)
    for word in words:
        assert word in str(caught.value)


def described() -> dict[str, Any]:
    data, _ = architecture.describe(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    return data


def spoiled(change: Any) -> dict[str, Any]:
    data = described()
    change(data)
    return data


ATTACKS = {
    "function": lambda data: data["nodes"][1].update(op="call_function", target="os.system", args=["id"]),
    "load": lambda data: data["nodes"][1].update(op="call_function", target="torch.load", args=["x"]),
    "attribute": lambda data: data["nodes"][1].update(
        op="call_function", target="getattr", args=[{"node": "input_1"}, "__class__"]
    ),
    "method": lambda data: data["nodes"][1].update(op="call_method", target="apply_"),
    "layer": lambda data: data["modules"][0].update(type="Module"),
    "argument": lambda data: data["modules"][0]["args"].update(device="cuda"),
    "path": lambda data: (
        data["modules"][0].update(path='0") or __import__("os").system("id") or ("'),
        data["nodes"][1].update(target='0") or __import__("os").system("id") or ("'),
    ),
    "name": lambda data: data["nodes"][0].update(target="x=print(1)"),
    "keyword": lambda data: data["nodes"][1].update(kwargs={"a=print(1), b": 1}),
    "out": lambda data: data["nodes"][1].update(
        op="call_function", target="torch.add", kwargs={"out": {"node": "input_1"}}
    ),
    "constant": lambda data: data["nodes"][1].update(args=[{"torch": "load"}]),
    "missing": lambda data: data.pop("nodes"),
    "kind": lambda data: data.update(kind="pickle"),
    "class name": lambda data: data.update(name="x y"),
    "import": lambda data: data.update({"kind": "import", "class": "os:system", "args": {"command": "id"}}),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_recipe_that_says_more_than_it_may_is_refused(attack: str) -> None:
    with pytest.raises(BadBundle):
        architecture.build(spoiled(ATTACKS[attack]))


def test_tensors_must_fit_the_architecture() -> None:
    data, owner = architecture.describe(nn.Sequential(nn.Linear(2, 2)))
    stored, about = tensors.collect(owner)
    for wrong in ({**stored, "0.weight": torch.zeros(3, 2)}, {**stored, "1.weight": torch.zeros(1)}, {}):
        with pytest.raises(BadBundle):
            tensors.assign(architecture.build(data), wrong, about)
