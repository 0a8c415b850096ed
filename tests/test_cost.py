"""Shapes and cost in the plan, measured on meta tensors."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

import ganflow
from ganflow.cost import cost_cells, cost_footer, measure
from ganflow.inspection import inspect
from ganflow.views import plan_text
from zoo_networks import known, register

PIX2PIX = Path(__file__).parent.parent / "experiments" / "pix2pix.gin"
SMALL = ["UNetGenerator.base = 4"]
PAPER = ["UNetGenerator.size = 256", "UNetGenerator.base = 64", "PatchDiscriminator.base = 64", "earth.size = 256"]


def test_pix2pix_at_256_has_the_papers_sizes_and_costs() -> None:
    experiment = ganflow.load(PIX2PIX, overrides=PAPER)
    graph = ganflow.schedule(experiment)
    cost = measure(experiment, graph, batch_size=8)
    assert cost.parameters == {"G": 54_413_955, "D": 2_768_705}
    assert cost.values["D", "pred_fake"].shape == "8×1×30×30" and cost.values["D", "D_fake"].shape == "scalar"
    forward_d = cost.values["G", "pred_fake"].flops
    assert cost.values["D", "pred_fake"].flops == forward_d
    assert cost.textbook - cost.total == forward_d  # what D's weight gradients would cost in update G
    text = plan_text(graph, cost_cells(graph, cost), cost_footer(graph, cost))
    assert "✂ fake_B" in text and "through (evaluated again)" in text and "96.8 GFLOP" in text


def test_a_wrong_image_size_is_found_before_anything_is_built() -> None:
    experiment = ganflow.load(PIX2PIX, overrides=["earth.size = 48"])
    cost = measure(experiment, ganflow.schedule(experiment))
    assert [d.level for d in cost.errors] == ["error"] and cost.errors[0].location.line > 1


def test_in_a_group_the_cost_of_a_value_is_that_of_the_member_which_needs_it() -> None:
    group = ["Schedule.updates = [('D', 'G')]"]
    both = ganflow.load(PIX2PIX, overrides=group)
    own = measure(both, ganflow.schedule(both)).updates
    other = ganflow.load(PIX2PIX, overrides=["Schedule.updates = [('G', 'D')]"])
    turned = measure(other, ganflow.schedule(other)).updates
    assert sum(own.values()) == sum(turned.values())
    alone = ganflow.load(PIX2PIX, overrides=["Schedule.updates = ['D', 'G']"])
    apart = measure(alone, ganflow.schedule(alone))
    # D's two calls forwards and backwards are D's, whoever is written first; what both use is the first one's.
    assert (
        own["D"] > 0
        and turned["D"] == own["D"] - apart.values["D", "fake_B"].flops - apart.values["D", "pred_fake"].flops
    )


@register
class LazyJudge(nn.Module):
    """Images of any channels -> N×1×H×W."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LazyConv2d(1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def test_a_lazily_shaped_network_gets_its_shape_from_draws_and_values_that_hold_nothing() -> None:
    lazy = [*SMALL, "D/Network.module = @LazyJudge()", "pred_fake = 'D(cat(real_A, fake_B + randn_like(fake_B)))'"]
    with known():
        found = inspect(ganflow.load(PIX2PIX, overrides=lazy))
    assert [f for f in found.findings if f.level == "error"] == []
    assert found.cost.parameters["D"] == 6 * 9 + 1 and found.cost.values["D", "pred_fake"].shape == "4×1×64×64"
