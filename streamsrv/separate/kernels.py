"""Layers that do the same as torch's own in less time on a processor. Imported by `model` only where it runs.

torch multiplies matrices of full floats by MKL, which leaves half of some processors unused (AVX-512 of other makers
than its own). oneDNN, which comes with torch as well, doesn't; so a transformer takes half the time. Sums are made in
another order: results differ as they do from one processor to the next.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

# Scores of so many queries at a time stay in the cache of a core.
_QUERIES = 256


def can_quicken() -> bool:
    """Was torch built with oneDNN, and with what its own compiler calls of it?"""
    onednn: Any = torch.backends.mkldnn
    return bool(onednn.is_available()) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def quicken(model: nn.Module) -> None:
    """Put quicker layers into a model that is only going to be run, in full floats, on a processor."""
    for parent, name, layer in list(_attentions(model)):
        setattr(parent, name, _Attention(layer))
    for parent, name, linear in list(_linears(model)):
        setattr(parent, name, _Linear(linear.weight, linear.bias))


def _attentions(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.MultiheadAttention]]:
    for parent in model.modules():
        for name, layer in parent.named_children():
            if type(layer) is nn.MultiheadAttention and _is_plain(layer):
                yield parent, name, layer


def _is_plain(layer: nn.MultiheadAttention) -> bool:
    has_extras = layer.bias_k is not None or layer.bias_v is not None or layer.add_zero_attn
    return layer.batch_first and layer.in_proj_weight is not None and layer.in_proj_bias is not None and not has_extras


def _linears(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    for parent in model.modules():
        if isinstance(parent, nn.MultiheadAttention):
            continue  # it takes the weights out of its layer and multiplies by itself
        for name, layer in parent.named_children():
            if type(layer) is nn.Linear:
                yield parent, name, layer


def _multiply(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Give `rows @ weight.T + bias`."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")  # noqa: SLF001
    return product


class _Linear(nn.Module):
    """`nn.Linear`, its weights in the order in which they are used."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach())  # noqa: SLF001
        self._bias = None if bias is None else bias.detach()

    def forward(self, rows: Tensor) -> Tensor:
        return _multiply(rows, self._weight, self._bias)


class _Attention(nn.Module):
    """`nn.MultiheadAttention` with the batch first, without masks."""

    def __init__(self, layer: nn.MultiheadAttention) -> None:
        super().__init__()
        self._heads = layer.num_heads
        weights, biases = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
        self._query, self._key, self._value = map(_Linear, weights, biases)
        self._out = _Linear(layer.out_proj.weight, layer.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **options: Any
    ) -> tuple[Tensor, None]:
        if attn_mask is not None or options.get("key_padding_mask") is not None or options.get("need_weights", True):
            # Demucs gives masks to its sparse attention only, which is no nn.MultiheadAttention and isn't replaced.
            raise ValueError("This attention takes no masks, and doesn't tell its weights.")
        queries, keys, values = self._query(query), self._key(key), self._value(value)
        size = queries.shape[-1] // self._heads
        heads = [slice(start, start + size) for start in range(0, queries.shape[-1], size)]
        mixed = torch.empty_like(queries)
        for row, head in itertools.product(range(len(queries)), heads):
            mixed[row, :, head] = _attend(queries[row, :, head], keys[row, :, head], values[row, :, head])
        return self._out(mixed), None


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """What one head gives for its queries [n, size], of keys and values [m, size]."""
    scaled, columns = (keys * keys.shape[-1] ** -0.5).contiguous(), values.t().contiguous()
    some = (queries[start : start + _QUERIES].contiguous() for start in range(0, len(queries), _QUERIES))
    return torch.cat([_multiply(_multiply(rows, scaled).softmax(-1), columns) for rows in some])
