"""What stands in event files, made of plain values: the messages that TensorBoard reads.

Every function gives the fields of a ``Summary.Value``; ``graph_bytes`` gives a serialized ``GraphDef``. TensorBoard is
imported when one is called.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ganflow.board_layout import Section
from ganflow.pictures.graphdef import Operation

if TYPE_CHECKING:
    import numpy as np

Value = dict[str, Any]
Parameters = Mapping[str, bool | float | str]
Ended = Literal["success", "failure"]


def scalar(tag: str, number: float) -> Value:
    """A point of a curve."""
    return {"tag": tag, "simple_value": number}


def text(tag: str, words: str) -> Value:
    """``words`` letter by letter, in a markdown code block."""
    return _tensor(tag, "text", [code_block(words).encode()])


def image(tag: str, pixels: np.ndarray) -> Value:
    """A picture, uint8 H x W x C with C 1, 3 or 4."""
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary

    height, width, channels = pixels.shape
    png = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(png, format="PNG")
    shown = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=png.getvalue())
    return {"tag": tag, "image": shown}


def histogram(tag: str, counts: np.ndarray, edges: np.ndarray) -> Value:
    """``counts`` of the numbers between each two of the ``edges``, which are one more."""
    import numpy as np
    from tensorboard.plugins.histogram import metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    buckets = np.stack([edges[:-1], edges[1:], counts], axis=1).astype(np.float32)
    return {
        "tag": tag, "metadata": metadata.create_summary_metadata(None, None), "tensor": make_tensor_proto(buckets),
    }  # fmt: skip


def layout(sections: Iterable[Section]) -> Value:
    """The Custom Scalars tab; the last one written counts."""
    from tensorboard.plugins.custom_scalar import layout_pb2, metadata

    categories = [
        layout_pb2.Category(
            title=section.title, closed=section.closed,
            chart=[
                layout_pb2.Chart(title=chart.title, multiline=layout_pb2.MultilineChartContent(tag=chart.patterns))
                for chart in section.charts
            ],
        )
        for section in sections
    ]  # fmt: skip
    packed = layout_pb2.Layout(category=categories).SerializeToString()
    return _tensor(metadata.CONFIG_SUMMARY_TAG, metadata.PLUGIN_NAME, [packed])


def hparams(parameters: Parameters, metrics: Sequence[str], first: Sequence[str] = ()) -> list[Value]:
    """A session of the HParams tab begins.

    Args:
        parameters: the columns, by name.
        metrics: tags of the scalars that stand beside them.
        first: names of the columns that come first.
    """
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    kinds = {bool: api_pb2.DATA_TYPE_BOOL, str: api_pb2.DATA_TYPE_STRING}
    infos = [
        api_pb2.HParamInfo(name=n, type=kinds.get(type(v), api_pb2.DATA_TYPE_FLOAT64), differs=n in first)
        for n, v in parameters.items()
    ]
    for info in infos:
        if info.type == api_pb2.DATA_TYPE_BOOL:
            info.domain_discrete.extend([False, True])
    shown = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=tag.removeprefix("metric/"))
        for tag in metrics
    ]
    experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=shown, time_created_secs=time.time())
    begun = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    for name, value in parameters.items():
        field = (
            "bool_value" if isinstance(value, bool) else "string_value" if isinstance(value, str) else "number_value"
        )
        setattr(begun.hparams[name], field, value)
    return [
        _hparams(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment)),
        _hparams(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=begun)),
    ]


def hparams_end(how: Ended) -> Value:
    """The session ends."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    status = {"success": api_pb2.STATUS_SUCCESS, "failure": api_pb2.STATUS_FAILURE}[how]
    ended = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    return _hparams(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=ended))


def graph_bytes(operations: Iterable[Operation]) -> bytes:
    """The Graphs tab."""
    from tensorboard.compat.proto.attr_value_pb2 import AttrValue
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.versions_pb2 import VersionDef

    def shape(dims: tuple[int, ...]) -> TensorShapeProto:
        return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in dims])

    graph = GraphDef(versions=VersionDef(producer=22))
    for operation in operations:
        node = graph.node.add(name=operation.name, op=operation.op, input=operation.inputs, device=operation.mode)
        for heading, words in operation.attributes.items():
            node.attr[heading].s = words.encode()
        if operation.shapes:
            shapes = AttrValue.ListValue(shape=map(shape, operation.shapes))
            node.attr["_output_shapes"].CopyFrom(AttrValue(list=shapes))
    packed: bytes = graph.SerializeToString()
    return packed


def code_block(words: str) -> str:
    """``words`` in a markdown fence that is longer than any in them."""
    longest = max((len(run) for run in re.findall("`+", words)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{words.rstrip()}\n{fence}\n"


def _tensor(tag: str, plugin: str, strings: list[bytes]) -> Value:
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2

    named = summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin)
    kind = summary_pb2.SummaryMetadata(plugin_data=named, data_class=summary_pb2.DATA_CLASS_TENSOR)
    return {
        "tag": tag, "metadata": kind, "tensor": tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=strings),
    }  # fmt: skip


def _hparams(tag: str, data: Any) -> Value:
    from tensorboard.plugins.hparams import metadata

    return {"tag": tag, "metadata": metadata.create_summary_metadata(data), "tensor": metadata.NULL_TENSOR}
