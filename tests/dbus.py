#!/usr/bin/env python3
"""Calls every method of hasherd on D-Bus once, as docs/dbus.md shows them.

Needs python3-dbus-next (Debian) or `pip install dbus-next`, and a hasherd on the
system's bus with at least one device that is ready. Takes the clock of a board up and
back again, so do not run it beside real work.

    python3 tests/dbus.py
"""

import asyncio
import hashlib
import os
import socket

from dbus_next import BusType, Variant
from dbus_next.aio import MessageBus
from dbus_next.errors import DBusError

NAME = "org.hasher.Hasher1"
ROOT = "/org/hasher/Hasher1"


async def main():
    bus = await MessageBus(
        bus_type=BusType.SYSTEM, negotiate_unix_fd=True
    ).connect()

    async def interface(path, name):
        described = await bus.introspect(NAME, path)
        return bus.get_proxy_object(NAME, path, described).get_interface(name)

    manager = await interface(ROOT, f"{NAME}.Manager")
    print("hasherd", await manager.get_version(), await manager.get_state())

    # What there is.
    objects = await interface(ROOT, "org.freedesktop.DBus.ObjectManager")
    devices = []
    for path, interfaces in (await objects.call_get_managed_objects()).items():
        if f"{NAME}.Device" in interfaces:
            device = interfaces[f"{NAME}.Device"]
            state, model = device["State"].value, device["Model"].value
            print(device["Id"].value, model, state)
            devices.append((path, device["Kind"].value, state))
    ready = [(path, kind) for path, kind, state in devices if state == "ready"]
    assert ready, "no device is ready"

    # A search: a header of 80 bytes, of which the last four are the nonce looked for.
    header = bytes(range(76)) + bytes(4)
    end, certain, works, hits, by = await manager.call_search(
        header,
        {
            "zero-bits": Variant("u", 14),
            "rolls": Variant("q", 4000),
            "deadline-ms": Variant("u", 60_000),
        },
    )
    for time, nonce, digest in hits:
        solved = (
            header[:68]
            + time.to_bytes(4, "little")
            + header[72:76]
            + nonce.to_bytes(4, "little")
        )
        twice = hashlib.sha256(hashlib.sha256(solved).digest()).digest()
        assert twice == digest and int.from_bytes(digest, "little") >> 242 == 0
    print("search:", end, len(hits), "hit, by", by)
    assert end == "found"

    # Digests, always by the CPU.
    digests, by = await manager.call_digest(
        [b"abc", b""], {"algorithm": Variant("s", "sha256")}
    )
    assert digests[0] == hashlib.sha256(b"abc").digest()
    print("digest:", digests[0].hex(), "by", by)

    # A session: a connected socket that speaks the socket protocol.
    fd = bus_fd(await manager.call_open_session({}))
    with socket.socket(fileno=fd) as session:
        assert session.family == socket.AF_UNIX
        print("session: a connected socket")

    # A device can be paused, resumed and reset.
    path, kind = ready[0]
    device = await interface(path, f"{NAME}.Device")
    changes = await interface(path, "org.freedesktop.DBus.Properties")
    told = asyncio.Queue()
    changes.on_properties_changed(
        lambda _, changed, __: told.put_nowait(
            {name: value.value for name, value in changed.items()}
        )
    )

    async def until_told(name, value):
        while (await asyncio.wait_for(told.get(), 60)).get(name) != value:
            pass
        print("told:", name, value)

    await device.call_pause()
    await until_told("State", "paused")
    await device.call_resume()
    await until_told("State", "ready")
    attachments = await device.get_attachments()
    await device.call_reset()
    await until_told("Attachments", attachments + 1)
    while await device.get_state() != "ready":
        await asyncio.sleep(0.1)

    # A clock is taken back after a minute unless it is confirmed.
    if kind == "cpu":
        settings = {"frequency-mhz": Variant("d", 200.0)}
        await refused("NotSupported", device.call_configure(settings))
    else:
        clock = await device.get_frequency_mhz()
        other = 193.75 if clock == 200.0 else 200.0
        seconds = await device.call_configure({"frequency-mhz": Variant("d", other)})
        print(other, "MHz for", seconds, "s")
        await until_told("State", "ready")
        await device.call_revert_configuration()
        await until_told("State", "ready")
        assert await device.get_frequency_mhz() == clock
        await device.call_configure({"frequency-mhz": Variant("d", clock)})
        await device.call_confirm_configuration()
        await refused("Invalid", device.call_confirm_configuration())

    # Errors have names.
    await refused("Invalid", manager.call_search(bytes(79), {}))
    await manager.call_reload()
    print("every method was called")


def bus_fd(given):
    """A descriptor of our own, however the library hands it over."""
    return os.dup(given) if isinstance(given, int) else given.fileno()


async def refused(name, call):
    try:
        await call
    except DBusError as error:
        assert error.type == f"{NAME}.Error.{name}", error.type
        print("refused:", error.type, "-", error.text)
    else:
        raise AssertionError(f"not refused: {name}")


asyncio.run(main())
