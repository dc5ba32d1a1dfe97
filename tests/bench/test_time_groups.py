import pytest
import torch

from audio_lm.bench.time_groups import GROUPS, OTHER, group_of, time_shares

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("mkldnn::_linear_pointwise", "matrix products"),
        ("audio_lm::documents_backward", "attention"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::_fused_adamw_", "optimizer"),
        ("aten::exp_", "softmax over the vocabulary"),
        ("aten::native_layer_norm_backward", "activations and norms"),
        ("aten::_fft_r2c", "log-mel"),
        ("aten::copy_", "copies and zeros"),
        ("aten::transpose", OTHER),
    ],
)
def test_operations_belong_to_groups(name, group):
    assert group_of(name) == group


def test_a_large_matrix_product_takes_the_largest_share():
    matrix = torch.randn(400, 400)
    shares = time_shares(lambda: (matrix @ matrix, torch.nn.functional.gelu(matrix[:10])), CPU)
    assert next(iter(shares)) == "matrix products"
    assert set(shares) <= {group for group, _ in GROUPS} | {OTHER}
    assert sum(shares.values()) == pytest.approx(1.0)
