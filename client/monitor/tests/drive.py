#!/usr/bin/python3
"""Drives the running app as a person would, on a display and a bus of its own.

  drive.py APP HASHERD MODEL [--screenshots FOLDER] [NAME...]

APP and HASHERD are the programs, MODEL is a model file for handwritten digits.
What the real daemon can be brought to do is tested with the real daemon; the
rest with one that says what the test wants (fake_hasherd.py). With NAMEs only
those tests are run.
"""
import argparse
import os
import pathlib
import sys
import time
import traceback

sys.dont_write_bytecode = True

from desktop import Desktop, Fake, wait_for  # noqa: E402

BOARD = {
    "Kind": "simulated", "Model": "Antminer S3", "State": "ready", "Firmware": "7",
    "Layout": "S3", "ChipsPerChain": [16, 16], "FrequencyMhz": 218.75, "FilterZeroBits": 14,
    "NominalHashRateHps": 1.7e6, "HashRateHps": [1.6e6, 1.5e6], "TemperaturesCelsius": [41, 43],
    "FansRpm": [2760, 2820], "Hits": 4928, "HardwareErrors": 2, "Works": 5301,
    "WorksInFlight": 12, "Attachments": 1, "Slowdown": 1.0,
}
HOT = {
    "Kind": "usb", "Model": "Antminer S1", "State": "paused", "StateReason": "too hot: 81 °C",
    "Remedy": "clean the fans and let air in", "ChipsPerChain": [32, 32], "FrequencyMhz": 350.0,
    "FilterZeroBits": 32, "NominalHashRateHps": 180e9, "TemperaturesCelsius": [78, 81],
}


class Test:
    """What every test works with."""

    def __init__(self, options):
        self.options = options
        self.desktop = Desktop()

    def app(self, *files, dark=False):
        self.desktop.environment["ADW_DEBUG_COLOR_SCHEME"] = (
            "prefer-dark" if dark else "prefer-light")
        self.process = self.desktop.start([self.options.app, *files])
        # Only now: the library looks for the bus when it is loaded.
        from widgets import App
        return App(pathlib.Path(self.options.app).name)

    def fake(self):
        return Fake(self.desktop)

    def hasherd(self, *arguments):
        """The real daemon with these arguments; its socket is the answer."""
        path = self.desktop.path / "hasherd.sock"
        self.desktop.start([self.options.hasherd, "--socket", str(path), *arguments])
        wait_for("the daemon's socket", path.exists)
        return str(path)

    def keys(self, *keys):
        self.desktop.run(["xdotool", "key", *keys])

    def click(self, app, name):
        """Clicks where the widget is, for what has no action of its own."""
        x, y = app.place(name)
        self.desktop.run(["xdotool", "mousemove", str(x), str(y), "click", "1"])

    def screenshot(self, name):
        if self.options.screenshots:
            # What is animated comes to rest.
            time.sleep(1)
            folder = pathlib.Path(self.options.screenshots)
            self.desktop.screenshot(str(folder / f"{name}.png"))


def without_a_daemon_the_app_says_how_to_start_one_and_then_finds_it(test):
    app = test.app()
    app.wait("hasherd Is Not Running")
    app.wait_text("sudo systemctl start hasherd")
    assert not app.nameless(), app.nameless()
    test.screenshot("monitor-no-daemon")
    app.press("Copy the command sudo systemctl start hasherd")
    app.wait("Copied")
    fake = test.fake()
    app.wait("No Device")
    fake.say("device", "sim-s3-0", BOARD)
    app.wait("sim-s3-0 · simulated")
    test.desktop.end(fake.process)
    app.wait("hasherd Is Not Running")


def a_user_outside_the_group_is_told_which_group(test):
    fake = test.fake()
    fake.say("refuse", "GetManagedObjects", "org.freedesktop.DBus.Error.AccessDenied", "no")
    app = test.app()
    app.wait("Not Permitted")
    app.wait_text("sudo usermod -aG hasher $USER")


def a_daemon_that_fails_is_told_from_one_that_is_not_there(test):
    fake = test.fake()
    fake.say("refuse", "GetManagedObjects", "org.hasher.Hasher1.Error.Internal", "fault 7")
    app = test.app()
    app.wait("hasherd Does Not Answer")
    app.wait_text("fault 7")


def devices_follow_plug_unplug_and_every_change(test):
    fake = test.fake()
    fake.say("device", "sim-s3-0", BOARD)
    app = test.app()
    app.wait("Ready · 1.60 MH/s · 43 °C")
    app.wait("Hash rate", "image")
    app.wait("Temperature", "image")
    app.wait_text("2 wrong (0.04 %)")
    assert not app.nameless(), app.nameless()
    fake.say("device", "usb-1-2", HOT)
    app.wait("usb-1-2 · on USB")
    test.click(app, "usb-1-2 · on USB")
    app.wait("Clean the fans and let air in")
    test.click(app, "sim-s3-0 · simulated")
    app.wait_gone("Clean the fans and let air in")
    fake.say("device", "sim-s3-0", {"HashRateHps": [1.4e6, 1.5e6]})
    app.wait("Ready · 1.40 MH/s · 43 °C")
    # The one that is shown goes, so the other one is shown.
    fake.say("unplug", "sim-s3-0")
    app.wait_gone("sim-s3-0 · simulated")
    app.wait("Too hot: 81 °C")
    app.wait("Clean the fans and let air in")
    app.wait_gone("Pause")
    fake.say("unplug", "usb-1-2")
    app.wait("No Device")


def pause_and_resume_reach_the_daemon_and_a_refusal_is_shown(test):
    fake = test.fake()
    fake.say("device", "sim-s3-0", BOARD)
    app = test.app()
    app.press("Pause")
    app.wait("Paused on request")
    app.press("Resume")
    app.wait_gone("Paused on request")
    fake.say("refuse", "Pause", "org.hasher.Hasher1.Error.NotAllowed", "dialog dismissed")
    app.wait("Pause", "push button")
    test.keys("ctrl+p")
    app.wait("Cannot pause sim-s3-0: you are not permitted (dialog dismissed)")
    fake.say("manager", {})
    path = "/org/hasher/Hasher1/devices/sim_2ds3_2d0"
    methods = [line for line in fake.called if line.endswith(path)]
    assert methods == [f"called {m} {path}" for m in ("Pause", "Resume", "Pause")], methods


def sessions_show_who_uses_the_daemon_and_how_much(test):
    fake = test.fake()
    fake.say("device", "sim-s3-0", BOARD)
    app = test.app()
    app.wait("sim-s3-0 · simulated")
    test.keys("alt+2")
    app.wait("No Session")
    fake.say("session", 3, {
        "Name": "nightly", "Uid": 1000, "Pid": 812, "Credits": 64, "CreditsFree": 60,
        "Share": 0.75, "Works": 5000, "JobsLive": 4})
    app.wait("nightly", "list item")
    app.wait_text("user 1000 · process 812 · 4 of 64 places in use")
    app.wait("75 %")
    fake.say("end", 3)
    app.wait("No Session")


def a_daemon_that_stops_says_so_on_every_page(test):
    fake = test.fake()
    app = test.app()
    app.wait("No Device")
    fake.say("manager", {"State": "stopping"})
    app.wait("The daemon is stopping: no new work is taken.")


def a_picture_is_answered_without_a_daemon(test):
    app = test.app(test.options.model)
    app.wait("digits.hsh")
    app.press("Test Digit")
    app.press("Classify")
    app.wait_text("passes agree")
    app.wait("Plain hashes of this computer's CPU, no work behind them")


def a_device_finds_the_anchors_of_an_answer(test):
    fake = test.fake()
    fake.say("device", "sim-s3-0", BOARD)
    fake.say("socket", test.hasherd("--device", "sim:s3"))
    app = test.app(test.options.model)
    app.wait_text("A ready device searches anchors with 14 zero bits")
    test.keys("ctrl+d")
    test.keys("ctrl+Return")
    app.wait_text("passes agree")
    app.wait("21 found by sim-s3-0 (simulated)")
    app.wait("14 zero bits an anchor, 2^18 times easier than silicon's 32")
    assert not app.nameless(), app.nameless()


def a_session_that_is_refused_is_an_error_not_an_answer(test):
    fake = test.fake()
    fake.say("device", "sim-s3-0", BOARD)
    fake.say("refuse", "OpenSession", "org.hasher.Hasher1.Error.NotAllowed", "")
    app = test.app(test.options.model)
    app.press("Test Digit")
    app.press("Classify")
    app.wait("Cannot open a session: you are not permitted")
    app.wait("The answer appears here")


def a_file_of_the_wrong_kind_is_refused_with_the_reason(test):
    wrong = test.desktop.path / "notes.txt"
    wrong.write_text("these are no pixels")
    app = test.app()
    app.wait("hasherd Is Not Running")
    # A second start hands the file to the window that is there.
    test.desktop.run([test.options.app, str(wrong)])
    app.wait_text("Cannot use picture notes.txt: neither a PNG or JPEG image nor")


def every_key_of_the_help_window_is_there(test):
    app = test.app()
    app.wait("hasherd Is Not Running")
    test.keys("F1")
    app.wait_text("Pause or resume the device")
    app.wait_text("Take a test digit")


def the_real_daemon_is_followed_paused_resumed_and_asked(test):
    # The second board loses its cable for good, however slow this machine is.
    test.hasherd(
        "--bus", "session", "--device", "sim:s3", "--device", "sim:s1,script=unplug@25s")
    app = test.app()
    app.wait("sim-s3-0 · simulated")
    app.wait("sim-s1-1 · simulated")
    app.wait_text("your own daemon")
    test.click(app, "sim-s3-0 · simulated")
    app.wait_text("The daemon's CPU, as 32 chips on 2 chains")
    app.wait("Temperature", "image")
    app.press("Pause")
    app.wait("Paused on request")
    app.press("Resume")
    app.wait_gone("Paused on request")
    # The window takes a file from a second start, as from a file manager.
    test.desktop.run([test.options.app, test.options.model])
    app.wait("digits.hsh")
    app.press("Test Digit")
    app.press("Classify")
    app.wait_text("passes agree")
    app.wait_text("21 found by sim-s")
    test.screenshot("monitor-answer")
    app.wait_text("This computer's CPU, in whole numbers")
    test.keys("alt+1")
    test.screenshot("monitor-devices")
    test.click(app, "sim-s1-1 · simulated")
    app.wait("Unplugged")
    app.wait("Plug the board in and switch it on")


def tests():
    """The tests above, in their order."""
    named = [value for name, value in globals().items() if name.count("_") >= 4]
    return [value for value in named if callable(value)]


def run(function, options):
    """Whether the test passed; what went wrong is printed."""
    test = Test(options)
    try:
        function(test)
        if test.process.poll() is not None:
            raise AssertionError(f"the app has ended with {test.process.returncode}")
        return True
    except Exception:  # Whatever it was, the next test runs.
        traceback.print_exc(file=sys.stdout)
        if options.screenshots:
            test.desktop.screenshot(f"{options.screenshots}/failed-{function.__name__}.png")
        print("\n".join(test.desktop.logs()))
        return False
    finally:
        test.desktop.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("app")
    parser.add_argument("hasherd")
    parser.add_argument("model")
    parser.add_argument("--screenshots")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    failed = []
    chosen = [f for f in tests() if not options.names or f.__name__ in options.names]
    for function in chosen:
        begin = time.monotonic()
        # A process of its own: the accessibility library knows one bus only.
        child = os.fork()
        if child == 0:
            passed = run(function, options)
            sys.stdout.flush()
            os._exit(0 if passed else 1)
        passed = os.waitpid(child, 0)[1] == 0
        word = "ok" if passed else "FAILED"
        print(f"test {function.__name__} ... {word} ({time.monotonic() - begin:.0f} s)", flush=True)
        if not passed:
            failed.append(function.__name__)
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
