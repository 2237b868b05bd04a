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


def tiny(kind: str, **settings: object) -> "torch.nn.Module":
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "vocab_size": 64}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes, **heads, **settings))


def test_heads_that_do_more_than_multiply_are_noticed() -> None:
    from llm_twin.training.loss import plain_head

    assert plain_head(tiny("llama"))
    assert plain_head(tiny("qwen2"))
    assert not plain_head(tiny("granite", logits_scaling=8.0))
    assert not plain_head(tiny("gemma2", final_logit_softcapping=0.01))


def test_each_epoch_has_an_order_of_its_own_that_can_be_had_again() -> None:
    from llm_twin.training.loss import OrderOfEpoch

    lengths = [(7 * n) % 40 + 5 for n in range(100)]
    order = OrderOfEpoch(lengths, 4, seed=3)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    assert first != second
    again = OrderOfEpoch(lengths, 4, seed=3)
    again.set_epoch(1)
    assert list(again) == second
    assert sorted(first) == sorted(second) == list(range(100)) == list(range(len(order)))
    assert list(OrderOfEpoch(lengths, 4, seed=4)) != first
    spreads = [max(part) - min(part) for part in zip(*[iter(lengths[i] for i in first)] * 4, strict=True)]
    assert sum(spreads) / len(spreads) < 10  # a random order of these lengths has about 24
