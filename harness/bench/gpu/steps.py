"""Training steps on a card, beside a transformer with as many parameters, and what a step copies to the host."""

from collections.abc import Callable, Iterator

import torch
from torch.profiler import ProfilerActivity, profile

from cortexzoo.harness.bench.equal_transformer import equal_transformer
from cortexzoo.harness.bench.gpu.card import milliseconds
from cortexzoo.harness.bench.gpu.row import Row
from cortexzoo.harness.bench.training_steps import ROWS, WITHOUT, Trained, text_batches
from cortexzoo.specs import load
from cortexzoo.specs.variant import VariantSpec
from cortexzoo.zoo.training.evaluation import Precision

SECTION = "training steps"
TIMES = 5
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def rows() -> Iterator[Row]:
    """Tokens a second, batch 8."""
    stable = load("cortexgpt-stable", "variant")
    plain = load("cortexgpt-stable", "variant", [WITHOUT])
    hybrid = load("cortex-v2-hybrid-scratch", "variant", ["backbone.architecture.vocab_size=256"])
    for length in (128, 512):
        batches = [tokens.cuda() for tokens in text_batches(length)]
        for precision in PRECISIONS:
            peer = Trained(equal_transformer(plain, 128, 4, 256), batches, precision)
            yield compared("cortexgpt-stable without long-term memory", plain, peer)
            yield compared("cortexgpt-stable", stable, peer, filled=True)
            peer = Trained(equal_transformer(hybrid, 64, 4, 256), batches, precision)
            yield compared("cortex-v2-hybrid-scratch", hybrid, peer)
    batches = [tokens.cuda() for tokens in text_batches(128)]
    remembering = Trained(stable, batches).fill()
    original = Trained(load("cortexgpt-original", "variant"), batches)
    for name, trained in (
        ("cortexgpt-stable", remembering),
        ("cortexgpt-original", original),
        ("cortex-v2-hybrid-scratch", Trained(hybrid, batches)),
        ("its transformer", Trained(equal_transformer(hybrid, 64, 4, 256), batches)),
    ):
        unlike = unlike_gradients(trained)
        seen = "the same bits" if not unlike else f"other bits of {', '.join(unlike[:4])}: {len(unlike)} in all"
        yield Row(SECTION, f"gradients of {name} over the same batch, {TIMES} times", seen, not unlike, "the same bits")
    counted = copies_to_the_host(remembering.step)
    yield Row(
        SECTION,
        "copies from the card to the host in a step of cortexgpt-stable",
        f"{counted}: for the search by FAISS, and flags that decide what is computed",
    )


def unlike_gradients(trained: Trained) -> list[str]:
    """Parameters whose gradients are not the same bits each time, of all batches."""
    unlike: set[str] = set()
    for tokens in trained.batches:
        first: dict[str, torch.Tensor] = {}
        for _ in range(TIMES):
            torch.manual_seed(0)
            trained.differentiate(tokens)
            found = {n: p.grad.clone() for n, p in trained.model.named_parameters() if p.grad is not None}
            trained.optimizer.zero_grad(set_to_none=True)
            first = first or found
            unlike |= {name for name in found if not torch.equal(found[name], first[name])}
    return sorted(unlike)


def compared(name: str, variant: VariantSpec, peer: Trained, filled: bool = False) -> Row:
    """One variant beside its transformer, on the same batches."""
    trained = Trained(variant, peer.batches, peer.precision)
    if filled:
        trained.fill()
    length = peer.batches[0].shape[1] - 1
    own, other, again, further = (milliseconds(each.step, 5) for each in (trained, peer, trained, peer))
    ratios = sorted((other / own, further / again))
    seen = f"{ROWS * length / again * 1e3:,.0f} tokens/s, {ratios[0]:.2f} to {ratios[1]:.2f} × the transformer's"
    return Row(SECTION, f"{name}, {peer.precision}, {ROWS} × {length} tokens", seen)


def copies_to_the_host(step: Callable[[], None]) -> int:
    """As CUDA counts them."""
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as found:
        step()
        torch.cuda.synchronize()
    return sum(event.count for event in found.key_averages() if "DtoH" in event.key)
