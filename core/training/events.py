"""Scalars for TensorBoard, written at once.

TensorBoard's own writer works in a thread: it answers a full disk with a traceback, and loses what
it has not yet written when the process is killed.
"""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Events:
    """A new event file in a run's directory; TensorBoard drops what older ones hold from `step`
    on.
    """

    def __init__(self, directory: Path, step: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2  # slow to import
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._messages: Any = event_pb2
        self._summaries: Any = summary_pb2
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._file = (directory / name).open("wb")
        self._records = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        start = self._messages.SessionLog(status=self._messages.SessionLog.START)
        self._write(step=step, session_log=start)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write the numbers of a step."""
        scalars = [
            self._summaries.Summary.Value(tag=name, simple_value=v) for name, v in values.items()
        ]
        self._write(step=step, summary=self._summaries.Summary(value=scalars))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, **what: Any) -> None:
        event = self._messages.Event(wall_time=time.time(), **what)
        self._records.write(event.SerializeToString())
        self._file.flush()
