"""The smallest camera that speaks RTSP (RFC 2326): sends a video once, over one connection."""

import socketserver
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2

CLOCK = 90_000  # ticks a second of RTP's times
MTU = 1400  # bytes of a frame in one packet


@contextmanager
def camera(video: Path, seconds: Sequence[float]) -> Iterator[str]:
    """Serve an MPEG-4 file whose frames are said to be from those seconds; yields the address."""
    packets = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])  # not decoded
    frames = [packets.retrieve()[1].tobytes() for _ in iter(packets.grab, False)]
    config = (
        packets.retrieve(flag=int(packets.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX)))[1]
        .tobytes()
        .hex()
    )
    sdp = "\r\n".join(
        [
            *("v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=camera", "t=0 0", "m=video 0 RTP/AVP 96"),
            *(
                f"a=rtpmap:96 MP4V-ES/{CLOCK}",
                f"a=fmtp:96 profile-level-id=1;config={config}",
                "a=control:1",
                "",
            ),
        ]
    )
    replies = {
        "OPTIONS": ("Public: OPTIONS, DESCRIBE, SETUP, PLAY", ""),
        "DESCRIBE": ("Content-Type: application/sdp", sdp),
        "SETUP": ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1", ""),
        "PLAY": ("Session: 1", ""),
    }

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline().decode():
                headers = dict(header.split(": ", 1) for header in iter(self.next_header, ""))
                method = line.split()[0]
                extra, body = replies[method]
                extra = f"CSeq: {headers['CSeq']}\r\n{extra}\r\nContent-Length: {len(body)}"
                self.wfile.write(f"RTSP/1.0 200 OK\r\n{extra}\r\n\r\n{body}".encode())
                if method == "PLAY":
                    for packet in rtp(frames, seconds):
                        # RTP packets interleaved with RTSP (RFC 2326, section 10.12).
                        self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
                    return

        def next_header(self) -> str:
            return self.rfile.readline().decode().strip()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"rtsp://127.0.0.1:{server.server_address[1]}/door"
        server.shutdown()


def rtp(frames: Sequence[bytes], seconds: Sequence[float]) -> Iterator[bytes]:
    """Frames in packets of RTP (RFC 3550 and, for MPEG-4, RFC 6416)."""
    number = 0
    for frame, time in zip(frames, seconds, strict=True):
        for start in range(0, len(frame), MTU):
            last = start + MTU >= len(frame)
            head = struct.pack(">BBHII", 0x80, last << 7 | 96, number, round(time * CLOCK), 1)
            yield head + frame[start : start + MTU]
            number += 1
