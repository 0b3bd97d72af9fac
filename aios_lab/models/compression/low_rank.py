"""Low rank: a layer's weight becomes the product of two smaller ones, each a layer of its own.

A factorisation is used only below break-even, where it has fewer weights than the layer itself:

- Linear, n inputs and m outputs: k < m·n / (m + n);
- Conv2d by channels, I inputs, O outputs and an h×w kernel: k < O·I·h·w / (I·h·w + O);
- Conv2d spatially: k < O·I·h·w / (I·h + O·w).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import fx, nn

from aios_lab.wire import LayerReport

from ..errors import NothingToShrink, NotStorable
from .factors import Cut, Form, cut, forms
from .methods import Compressed, Progress, Settings


def compress(model: nn.Module, settings: Settings, progress: Progress) -> Compressed:
    """Factorise every Linear and Conv2d of a loaded model that becomes smaller by it; the given one is
    untouched.

    The kernel's shapes change, so parameters and bytes really fall. Of the two forms of a convolution the
    smaller one is taken at equal energy, the more exact one at an equal ratio.

    Raises:
        NotStorable: the model is kept by its import path, so that a changed one could not be stored.
        NothingToShrink: no layer becomes smaller under these settings.
    """
    if not isinstance(model, fx.GraphModule):
        raise NotStorable(
            f"{type(model).__name__} is stored by its import path, so its layers cannot be replaced.",
            "Make its forward traceable by torch.fx (no Python decisions on tensors) and register it again.",
            reason="not_traceable",
        )
    model = copy.deepcopy(model)
    weighty = list(_weighty(model))
    blocked = _blocked(model)
    layers = []
    for index, (path, layer) in enumerate(weighty):
        progress(index / max(1, len(weighty)), f"factorising {path}")
        layers.append(_treat(model, path, layer, settings, blocked.get(path)))
    if all(report.rank is None for report in layers):
        raise _nothing(layers, settings)
    model.delete_all_unused_submodules()
    model.graph.lint()
    model.recompile()
    return Compressed(model, layers)


def _weighty(model: fx.GraphModule) -> Iterator[tuple[str, nn.Module]]:
    """The layers that the graph calls and that hold a matrix, in order of their first call."""
    paths = dict.fromkeys(str(node.target) for node in model.graph.nodes if node.op == "call_module")
    for path in paths:
        layer = model.get_submodule(path)
        if any(parameter.ndim >= 2 for parameter in layer.parameters()):
            yield path, layer


def _blocked(model: fx.GraphModule) -> dict[str, str]:
    """Layers whose weight somebody else needs whole, and who that is."""
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    shared = {
        name.rpartition(".")[0]: next(other for other in names if other != name)
        for names in owners.values()
        if len(names) > 1
        for name in names
    }
    read = {str(node.target) for node in model.graph.nodes if node.op == "get_attr"}
    blocked = {path: f"it shares its weight with {other}" for path, other in shared.items()}
    directly = (name.rpartition(".")[0] for name in read)
    return blocked | dict.fromkeys(directly, "forward also reads its weight directly")


def _treat(
    model: fx.GraphModule, path: str, layer: nn.Module, settings: Settings, blocked: str | None
) -> LayerReport:
    before = sum(parameter.numel() for parameter in layer.parameters())
    possible = forms(layer)
    why = blocked or _unfit(layer, possible)
    if why is not None:
        full = possible[0].full_rank if possible else 0
        return _report(path, layer, before, before, None, full, f"kept: {why}")
    best = _best([cut(form, settings) for form in possible], settings)
    weights = best.form.matrix.numel()
    if best.rank > best.form.limit:
        text = (
            f"kept: rank {best.rank} of {best.form.full_rank} would need {best.form.size(best.rank):,} "
            f"weights instead of {weights:,}; it pays up to rank {best.form.limit}"
        )
        return _report(path, layer, before, before, None, best.form.full_rank, text)
    _replace(model, path, best.layers())
    text = (
        f"{best.form.kind} rank {best.rank} of {best.form.full_rank}, {best.kept:.2%} of the energy kept, "
        f"{weights:,} → {best.form.size(best.rank):,} weights"
    )
    after = before - weights + best.form.size(best.rank)
    return _report(path, layer, before, after, best.rank, best.form.full_rank, text)


def _unfit(layer: nn.Module, possible: list[Form]) -> str | None:
    if not possible:
        kind = type(layer).__name__
        if isinstance(layer, nn.Conv2d):
            return "a grouped convolution has one small matrix a group"
        return f"low rank treats Linear and Conv2d, not {kind}"
    weight = possible[0].matrix
    if not weight.is_floating_point():
        return f"its weight is of type {str(weight.dtype).removeprefix('torch.')}"
    if not bool(torch.isfinite(weight).all()):
        return "its weight holds NaN or infinite values"
    return None


def _best(cuts: list[Cut], settings: Settings) -> Cut:
    if settings.energy is not None:
        return min(cuts, key=lambda cut: cut.form.size(cut.rank))
    return max(cuts, key=lambda cut: cut.kept)


def _replace(model: fx.GraphModule, path: str, pair: nn.Sequential) -> None:
    owner_path, _, name = path.rpartition(".")
    setattr(model.get_submodule(owner_path), name, pair)
    for node in [node for node in model.graph.nodes if node.op == "call_module" and node.target == path]:
        with model.graph.inserting_before(node):
            first = model.graph.call_module(f"{path}.0", node.args, node.kwargs)
            second = model.graph.call_module(f"{path}.1", (first,))
        node.replace_all_uses_with(second)
        model.graph.erase_node(node)


def _report(
    path: str, layer: nn.Module, before: int, after: int, rank: int | None, full_rank: int, decision: str
) -> LayerReport:
    return LayerReport(
        layer=path,
        kind=type(layer).__name__,
        rank=rank,
        full_rank=full_rank,
        before=before,
        after=after,
        decision=decision,
    )


def _nothing(layers: list[LayerReport], settings: Settings) -> NothingToShrink:
    asked = ", ".join(f"{name}={value:g}" for name, value in settings.as_recipe().items())
    if not layers:
        return NothingToShrink(
            f"Low rank with {asked} cannot shrink this model: it has no Linear or Conv2d layer.",
            "Only models with such layers become smaller by low rank.",
        )
    shown = "; ".join(f"{report.layer}: {report.decision}" for report in layers[:4])
    more = f"; and {len(layers) - 4} more" if len(layers) > 4 else ""
    return NothingToShrink(
        f"Low rank with {asked} would make no layer smaller ({shown}{more}).",
        "Lower the energy, such as energy=0.8, or give a ratio such as ratio=0.5.",
    )
