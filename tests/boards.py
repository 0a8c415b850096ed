"""What TensorBoard's own readers and tabs make of a directory, without its server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SAMPLES = {"scalars": 0, "tensors": 0, "images": 0, "histograms": 0}
TAG, NAME = "custom_scalars__config__", re.compile(r"[A-Za-z0-9.][A-Za-z0-9_>./\\-]*")


class Tabs:
    """The tabs on one directory; its one run is called ``"."``, runs below it by their names."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
        from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
        from tensorboard.context import RequestContext
        from tensorboard.plugins.base_plugin import TBContext
        from tensorboard.plugins.scalar.scalars_plugin import ScalarsPlugin

        multiplexer = EventMultiplexer(tensor_size_guidance=dict.fromkeys(
            ("scalars", "images", "histograms", "text"), 1000)).AddRunsFromDirectory(str(folder))  # fmt: skip
        multiplexer.Reload()
        self.provider = MultiplexerDataProvider(multiplexer, str(folder))
        self.runs = multiplexer.Runs()
        self.request = RequestContext()
        plugins: dict[str, Any] = {}
        self.context = TBContext(data_provider=self.provider, logdir=str(folder), plugin_name_to_instance=plugins)
        plugins["scalars"] = ScalarsPlugin(self.context)

    def tags(self, plugin: str, run: str = ".") -> set[str]:
        """Of everything that one tab shows."""
        lists = (self.provider.list_scalars, self.provider.list_tensors, self.provider.list_blob_sequences)
        return {
            t for f in lists for t in f(self.request, experiment_id="", plugin_name=plugin).get(run, {})
        }  # fmt: skip

    def layout(self) -> list[tuple[str, list[tuple[str, list[str]]]]]:
        """(section, [(chart, patterns)]) of Custom Scalars."""
        from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin

        found = CustomScalarsPlugin(self.context).layout_impl(self.request, "")
        found = __import__("json").loads(found) if isinstance(found, str) else found
        return [
            (c["title"], [(chart["title"], chart["multiline"]["tag"]) for chart in c["chart"]])
            for c in found.get("category", [])
        ]

    def shown(self, patterns: Iterable[str], run: str = ".") -> set[str]:
        """Tags of the curves of one chart."""
        from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin

        plugin = CustomScalarsPlugin(self.context)
        answers = [plugin.scalars_impl(self.request, run, pattern, "") for pattern in patterns]
        assert all(a["regex_valid" if "regex_valid" in a else "regexValid"] for a in answers)
        payloads = [a.get("tag_to_events", a.get("payload")) for a in answers]
        return {tag for payload in payloads for tag, points in payload.items() if points}

    def graph(self, run: str = ".") -> Any:
        """The GraphDef, by the way that the Graphs tab takes."""
        from google.protobuf import text_format
        from tensorboard.compat.proto.graph_pb2 import GraphDef
        from tensorboard.plugins.graph.graphs_plugin import GraphsPlugin

        plugin = GraphsPlugin(self.context)
        assert plugin.info_impl(self.request, "")[run]["run_graph"]
        text, _ = plugin.graph_impl(self.request, run, None, False, "", 1024, "_too_large_attrs")
        return text_format.Parse(text, GraphDef())

    def hparams(self) -> tuple[Any, list[Any]]:
        """The columns, and the groups of sessions which are the rows, of HParams."""
        from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

        context = backend_context.Context(self.context)
        experiment = get_experiment.Handler(
            self.request, context, "", api_pb2.GetExperimentRequest(include_metrics=True)
        ).run()
        states = (api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_RUNNING)
        request = api_pb2.ListSessionGroupsRequest(
            start_index=0, slice_size=100, allowed_statuses=states, include_metrics=True,
            col_params=[api_pb2.ColParams(hparam=h.name) for h in experiment.hparam_infos]
            + [api_pb2.ColParams(metric=m.name) for m in experiment.metric_infos],
        )  # fmt: skip
        rows = list_session_groups.Handler(self.request, context, "", request).run()
        return experiment, list(rows.session_groups)


def check_graph(graph: Any) -> None:
    """What the Graphs tab needs: names of its grammar, each once and none a scope, inputs that are there, no cycle."""
    from graphlib import TopologicalSorter

    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names) > 0
    assert all(NAME.fullmatch(name) for name in names), names
    scopes = {"/".join(name.split("/")[:i]) for name in names for i in range(1, name.count("/") + 1)}
    assert not scopes & set(names)
    inputs = {node.name: [i.removeprefix("^") for i in node.input] for node in graph.node}
    assert {i for found in inputs.values() for i in found} <= set(names)
    tuple(TopologicalSorter(inputs).static_order())
    for node in graph.node:
        assert node.op and all(value.ByteSize() < 1024 for value in node.attr.values()), node
        texts = [node.name, node.op, *node.attr, *(v.s.decode() for v in node.attr.values())]
        assert all(text.isascii() for text in texts), texts
