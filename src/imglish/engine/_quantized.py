"""Linear layers that hold their weights in fewer bits: int8 and int4 on a CPU by torch alone, on CUDA by bitsandbytes.

`quantised` on a class says what it holds; the lean stepper knows such layers by it.
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from imglish.core.extras import require

GROUP = 64  # weights that share a scale in four bits


class Int8Linear(nn.Module):
    """Weights in int8, a scale for each row; inputs in int8, a scale for each token, so that no token changes another.

    fbgemm's kernels (Khudia et al. 2021, arXiv:2101.05615). Without VNNI instructions sums of two products could
    saturate, and inputs have seven bits.
    """

    quantised: ClassVar[str] = "int8"

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scale = (weight.abs().amax(1) / 127).clamp(min=1e-12)
        before = torch.backends.quantized.engine
        torch.backends.quantized.engine = "fbgemm"
        try:
            with warnings.catch_warnings():  # such tensors are to go from torch; the pinned version has them
                warnings.filterwarnings("ignore", message="torch.quantize_per_tensor")
                zeros = torch.zeros(len(weight), dtype=torch.long)
                kept = torch.quantize_per_channel(weight, scale.double(), zeros, 0, torch.qint8)
                self.packed = torch.ops.quantized.linear_prepack(kept, None)
        finally:
            torch.backends.quantized.engine = before
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.nbytes = weight.numel() + 8 * len(weight)
        self.most = 127 if torch.cpu.get_capabilities().get("avx512_vnni", False) else 63
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, x: Tensor) -> Tensor:
        given = x.float()
        if given.numel() == self.in_features:  # one token: the kernel finds its range itself, both ends of it
            found: Tensor = torch.ops.quantized.linear_dynamic(given, self.packed, self.most < 127)
        else:
            largest = given.abs().amax(-1, keepdim=True).clamp(min=1e-12)
            multiply = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
            found = multiply(given / largest, 1 / self.most, self.most + 1, self.packed) * largest
        found = found if self.bias is None else found + self.bias
        return found.to(x.dtype)


class Int4Linear(nn.Module):
    """Weights in four bits, a scale and a zero for each `GROUP` of a row; inputs stay in bfloat16."""

    quantised: ClassVar[str] = "int4"

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float().view(self.out_features, -1, GROUP)
        low, high = weight.amin(-1, keepdim=True), weight.amax(-1, keepdim=True)
        scale = ((high - low) / 15).clamp(min=1e-8)
        whole = ((weight - low) / scale).round().clamp(0, 15).int().flatten(1)
        self.packed = torch._convert_weight_to_int4pack_for_cpu(whole, 1)
        zero = low + 8 * scale
        self.scales = torch.cat((scale, zero), -1).transpose(0, 1).contiguous().bfloat16()
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.nbytes = self.packed.nbytes + self.scales.nbytes

    @staticmethod
    def fits(linear: nn.Linear) -> bool:
        """Whether a layer has the sizes that the kernel takes."""
        return linear.in_features % GROUP == 0 and linear.out_features % 16 == 0

    def forward(self, x: Tensor) -> Tensor:
        given = x.reshape(-1, self.in_features).bfloat16()
        found = torch._weight_int4pack_mm_for_cpu(given, self.packed, GROUP, self.scales)
        found = found.view(*x.shape[:-1], self.out_features).to(x.dtype)
        return found if self.bias is None else found + self.bias.to(x.dtype)


def on_cuda(linear: nn.Linear, bits: int) -> Any:
    """The layer as bitsandbytes has it: eight bits with outliers apart, or four bits of NF4."""
    kit = require("bitsandbytes", extra="quantize").nn
    has_bias, device = linear.bias is not None, linear.weight.device
    weight = linear.weight.detach().cpu()
    if bits == 8:
        layer = kit.Linear8bitLt(linear.in_features, linear.out_features, bias=has_bias, has_fp16_weights=False)
        layer.weight = kit.Int8Params(weight.half(), requires_grad=False, has_fp16_weights=False)
    else:
        layer = kit.Linear4bit(
            linear.in_features, linear.out_features, bias=has_bias, compute_dtype=linear.weight.dtype, quant_type="nf4"
        )
        layer.weight = kit.Params4bit(weight, requires_grad=False, quant_type="nf4")
    if has_bias:
        layer.bias = nn.Parameter(linear.bias.detach(), requires_grad=False)
    layer = layer.to(device)
    layer.quantised = f"int{bits}"
    return layer
