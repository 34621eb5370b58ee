"""A private desktop: a display, a bus, and programs on both.

Owns every process that a test starts and ends each one, whatever happens. Every
wait is bounded and says what it waited for.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

# Bound of every wait, in seconds. What is waited for takes a second or two; a busy
# machine can stand still for much longer.
PATIENCE = 90
# Icons and desktop entry of the app.
DATA = pathlib.Path(__file__).resolve().parent.parent / "data"


def wait_for(what, condition, patience=PATIENCE):
    """The first true value of `condition`, or a failure that names `what`."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience} s in vain: {what}")
        time.sleep(0.1)


class Desktop:
    """A display and a session bus of their own."""

    def __init__(self, size="960x700"):
        self.folder = tempfile.TemporaryDirectory(prefix="hasher-monitor-")
        self.path = pathlib.Path(self.folder.name)
        self.processes = []
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "XDG_RUNTIME_DIR": str(self.path / "run"),
            "LANG": "C.UTF-8",
            # The app's own icon and entry, as if it were installed.
            "XDG_DATA_DIRS": f"{DATA}:/usr/local/share:/usr/share",
            # Without a graphics card, and the same on every machine.
            "GDK_BACKEND": "x11",
            "GSK_RENDERER": "cairo",
            "GTK_A11Y": "atspi",
            "GSETTINGS_BACKEND": "memory",
            # There is no system bus here that could have a daemon of its own.
            "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.path}/no-bus",
        }
        (self.path / "run").mkdir(mode=0o700)
        settings = self.path / ".config" / "gtk-4.0" / "settings.ini"
        settings.parent.mkdir(parents=True)
        settings.write_text("[Settings]\ngtk-font-name=Cantarell 11\n")
        read, write = os.pipe()
        self.start(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{size}x24", "-nolisten", "tcp", "-noreset"],
            pass_fds=[write])
        os.close(write)
        with os.fdopen(read) as pipe:
            self.environment["DISPLAY"] = ":" + pipe.readline().strip()
        bus = self.start(
            ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1"],
            stdout=subprocess.PIPE, text=True)
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().strip()
        # GTK offers its widgets to the test only when somebody says they are wanted.
        self.run([
            "gdbus", "call", "--session", "--dest", "org.a11y.Bus",
            "--object-path", "/org/a11y/bus",
            "--method", "org.freedesktop.DBus.Properties.Set",
            "org.a11y.Status", "ScreenReaderEnabled", "<true>"])
        os.environ.update(self.environment)

    def start(self, command, **options):
        """Starts a program that `close` ends."""
        log = open(self.path / f"{pathlib.Path(command[0]).name}.log", "ab")
        options = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL, **options}
        process = subprocess.Popen(command, env=self.environment, **options)
        self.processes.append(process)
        return process

    def run(self, command):
        """Runs a program to its end."""
        return subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True,
            timeout=PATIENCE).stdout

    def end(self, process):
        """Ends one program now."""
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=5)
        self.processes.remove(process)

    def screenshot(self, file):
        """The whole screen as a small PNG."""
        subprocess.run(
            ["import", "-silent", "-window", "root", "+dither", "-colors", "255", "-strip", file],
            env=self.environment, check=True, timeout=PATIENCE)

    def logs(self):
        """What the programs said."""
        for log in sorted(self.path.glob("*.log")):
            text = log.read_text(errors="replace").strip()
            if text:
                yield f"--- {log.name}\n{text[-4000:]}"

    def close(self):
        for process in list(reversed(self.processes)):
            self.end(process)
        self.folder.cleanup()


class Fake:
    """A daemon that says what the test wants."""

    def __init__(self, desktop):
        script = pathlib.Path(__file__).with_name("fake_hasherd.py")
        self.process = desktop.start(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True)
        self.called = []
        self.hear("ready")

    def hear(self, word):
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError("the fake daemon has ended")
            if line.strip() == word:
                return
            self.called.append(line.strip())

    def say(self, *command):
        """One command, carried out."""
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        self.hear("ok")
