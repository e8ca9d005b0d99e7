"""The daemon's socket: what a client does to it does not end the process."""

import subprocess
import sys

import pytest

# A client that says more than is kept of it, and is gone: in a process of its own, as what would fail here aborts it.
FLOODED = """
import time, zmq
from warpaint.server.sockets import RECEIVE_HIGH_WATER, make_router

ours, theirs = zmq.Context(), zmq.Context()
router = make_router(ours, probe_s=0.5)
router.bind({address!r})
dealer = theirs.socket(zmq.DEALER)
dealer.setsockopt(zmq.LINGER, 0)
dealer.connect(router.getsockopt_string(zmq.LAST_ENDPOINT))
for _ in range(500):
    dealer.send(bytes(1000))
time.sleep(0.2)
dealer.close()
theirs.term()
time.sleep(1.5)
heard = 0
while router.poll(200):
    router.recv_multipart()
    heard += 1
print(RECEIVE_HIGH_WATER <= heard <= 500)
"""


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_a_flood_that_breaks_off_ends_nothing(transport: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    address = {"ipc": f"ipc://{tmp_path_factory.mktemp('s')}/r", "tcp": "tcp://127.0.0.1:*"}[transport]
    code = FLOODED.format(address=address)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout.strip()) == (0, "True"), ran.stderr
