"""Keeps up with a live source: of the frames that came in meanwhile, only the newest is given.

for frame in Latest(open_source("rtsp://door/1")): ...
"""

from collections.abc import Iterator
from threading import Condition, Thread

from video.streams.frames import Frame


class Latest(Iterator[Frame]):
    """The newest frame each time one is taken; what a source brought in between is skipped.

    A thread reads on and keeps one frame only. Errors of the source are raised where the next
    frame is taken.

    Attributes:
        skipped: how many frames were skipped so far.
    """

    def __init__(self, frames: Iterator[Frame]):
        self.skipped = 0
        self._frame: Frame | None = None
        self._error: Exception | None = None
        self._ended = False
        self._closed = False
        self._changed = Condition()
        self._thread = Thread(target=self._read, args=(frames,), daemon=True)
        self._thread.start()

    def __next__(self) -> Frame:
        with self._changed:
            self._changed.wait_for(lambda: self._frame or self._ended)
            frame = self._frame
            self._frame = None
        if frame:
            return frame
        raise self._error or StopIteration

    def close(self) -> None:
        """Stop reading, after the frame that is being read."""
        self._closed = True
        self._thread.join()

    def _read(self, frames: Iterator[Frame]) -> None:
        try:
            for frame in frames:
                with self._changed:
                    self.skipped += self._frame is not None
                    self._frame = frame
                    self._changed.notify()
                if self._closed:
                    break
        except Exception as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()
