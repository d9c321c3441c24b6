"""Training curves in the format of TensorBoard."""

import math
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


class Curves:
    """One event file; a resumed training appends to it.

    TensorBoard's own writers put the host name and the process id into the file's name, and a process id can look like
    the id of a participant.

    Args:
        folder: folder of `events.tfevents`, for `tensorboard --logdir`.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "events.tfevents"
        fresh = not path.is_file()
        self._writer = RecordWriter(path.open("ab"))
        if fresh:
            self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add(self, row: Mapping[str, float]) -> None:
        """Write the values of one iteration, whose number is `iteration`; values that are not finite are left out."""
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name != "iteration" and math.isfinite(value)
        ]
        self._write(Event(wall_time=time.time(), step=int(row["iteration"]), summary=Summary(value=values)))

    def _write(self, event: Event) -> None:
        self._writer.write(event.SerializeToString())
        self._writer.flush()
