"""What is computed by fewer passes over memory is what torch computes, gradients included."""

import torch
from torch import nn

from tsfm.nn.norms import normalise, normalised
from tsfm.nn.rotary import rotary_angles, rotate, rotate_, rotated


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def norm_of(width):
    norm = nn.RMSNorm(width, eps=1e-6, dtype=torch.float64)
    norm.weight.data = drawn(width, seed=1)
    return norm


def test_normalisation_is_that_of_torch():
    norm, x = norm_of(16), drawn(3, 5, 16)
    torch.testing.assert_close(normalised(x, norm), norm(x))
    torch.testing.assert_close(normalise(x, norm), norm(x).detach())


def test_the_gradient_of_the_normalisation_is_that_of_torch():
    norm, x, cotangent = norm_of(16), drawn(3, 5, 16).requires_grad_(), drawn(3, 5, 16, seed=2)
    expected = torch.autograd.grad(norm(x), (x, norm.weight), cotangent)
    torch.testing.assert_close(torch.autograd.grad(normalised(x, norm), (x, norm.weight), cotangent), expected)


def test_a_rotation_with_a_gradient_is_the_plain_one():
    x, cotangent = drawn(2, 7, 3, 8).requires_grad_(), drawn(2, 7, 3, 8, seed=2)
    cos, sin = (part[:, None].double() for part in rotary_angles(7, 6))
    plain, ours = rotate(x, cos, sin), rotated(x, cos, sin)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(torch.autograd.grad(ours, x, cotangent), torch.autograd.grad(plain, x, cotangent))


def test_a_rotation_in_place_leaves_the_channels_behind_the_rotated_ones():
    x = drawn(2, 7, 3, 8)
    cos, sin = (part[:, None].double() for part in rotary_angles(7, 6))
    turned = rotate_(x.clone(), cos, sin)
    torch.testing.assert_close(turned, rotate(x, cos, sin))
    assert torch.equal(turned[..., 6:], x[..., 6:])
