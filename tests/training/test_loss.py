"""The chunked loss against torch's own, values and gradients."""

import pytest

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("tokens", [1, 7, 128, 300])
def test_loss_and_gradient_equal_torchs_cross_entropy(tokens: int) -> None:
    from llm_twin.training.loss import FrozenHeadCrossEntropy

    generator = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(tokens, 24, generator=generator)
    head = torch.randn(500, 24, generator=generator)
    labels = torch.randint(0, 500, (tokens,), generator=generator)
    ours, theirs = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()

    loss = FrozenHeadCrossEntropy.apply(ours, head, labels) / tokens
    expected = torch.nn.functional.cross_entropy(theirs @ head.T, labels)
    loss.backward()
    expected.backward()

    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)
