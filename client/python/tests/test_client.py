"""The client against a real daemon with a simulated board.

Needs the program ``hasherd``; its path is in the variable HASHERD.
"""

import hashlib
import os
import subprocess
import tempfile
import time
import unittest

from hasher import Client


class ClientTest(unittest.TestCase):
    def test_without_a_daemon_the_remedy_is_told(self):
        with self.assertRaisesRegex(ConnectionError, "nowhere.sock"):
            Client("/nonexistent/nowhere.sock")

    @unittest.skipUnless(os.environ.get("HASHERD"), "HASHERD names no daemon")
    def test_a_board_searches_and_a_cpu_digests(self):
        with tempfile.TemporaryDirectory() as folder:
            socket = os.path.join(folder, "hasherd.sock")
            daemon = subprocess.Popen(
                [os.environ["HASHERD"], "--socket", socket, "--device", "sim:s3"]
            )
            try:
                client = connect(socket)
                message = b"a message"
                self.assertEqual(client.digest(message), hashlib.sha256(message).digest())
                answer = client.search(bytes(80), zero_bits=14, rolls=15)
                hit = answer["hits"][0]
                self.assertEqual(hit["digest"][-1], 0)
                self.assertIn("simulated", answer["computed_by"][0])
                self.assertEqual(client.status()["devices"][0]["kind"], "simulated")
                with self.assertRaisesRegex(ValueError, "80 bytes"):
                    client.search(b"short")
            finally:
                daemon.terminate()
                daemon.wait(timeout=20)


def connect(socket):
    """The daemon and its board need a moment, at most 30 seconds."""
    end = time.monotonic() + 30
    while True:
        try:
            client = Client(socket)
            if any(device["state"] == "ready" for device in client.status()["devices"]):
                return client
        except ConnectionError:
            pass
        if time.monotonic() > end:
            raise TimeoutError("the daemon's board is not ready")
        time.sleep(0.1)


if __name__ == "__main__":
    unittest.main()
