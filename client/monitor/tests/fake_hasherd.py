#!/usr/bin/python3
"""A daemon on the session bus that says whatever a test wants it to say.

It serves the D-Bus contract of hasherd (manager, devices, sessions, object
manager) from the commands on its standard input, one JSON list a line, and
answers each with "ok". It is for states that the real daemon cannot be brought
into on demand; what works with the real one is tested with the real one.

  ["device", ID, {PROPERTY: VALUE}]   adds a device, or changes properties
  ["unplug", ID]                      removes it
  ["session", NUMBER, {...}]          the same for sessions
  ["manager", {...}]                  changes properties of the manager
  ["refuse", METHOD, ERROR, TEXT]     the method fails like this; ERROR "" ends it
  ["socket", PATH]                    OpenSession hands out a connection to PATH

Methods that were called are printed as "called METHOD PATH".
"""
import json
import socket
import sys
import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

NAME = "org.hasher.Hasher1"
ROOT = "/org/hasher/Hasher1"

XML = """
<node>
  <interface name="org.hasher.Hasher1.Manager">
    <method name="OpenSession"><arg type="a{sv}" direction="in"/><arg type="h" direction="out"/></method>
    <method name="Reload"/>
    <property name="Version" type="s" access="read"/>
    <property name="ProtocolVersion" type="s" access="read"/>
    <property name="State" type="s" access="read"/>
    <property name="Socket" type="s" access="read"/>
    <property name="StartedAt" type="t" access="read"/>
    <property name="Devices" type="u" access="read"/>
    <property name="Sessions" type="u" access="read"/>
  </interface>
  <interface name="org.hasher.Hasher1.Device">
    <method name="Pause"/><method name="Resume"/><method name="Reset"/>
    <property name="Id" type="s" access="read"/>
    <property name="Kind" type="s" access="read"/>
    <property name="Model" type="s" access="read"/>
    <property name="Firmware" type="s" access="read"/>
    <property name="Layout" type="s" access="read"/>
    <property name="State" type="s" access="read"/>
    <property name="StateReason" type="s" access="read"/>
    <property name="Remedy" type="s" access="read"/>
    <property name="HeldBy" type="s" access="read"/>
    <property name="ChipsPerChain" type="ay" access="read"/>
    <property name="Chains" type="u" access="read"/>
    <property name="Chips" type="u" access="read"/>
    <property name="FrequencyMhz" type="d" access="read"/>
    <property name="FilterZeroBits" type="u" access="read"/>
    <property name="NominalHashRateHps" type="d" access="read"/>
    <property name="HashRateHps" type="(dd)" access="read"/>
    <property name="TemperaturesCelsius" type="ay" access="read"/>
    <property name="FansRpm" type="au" access="read"/>
    <property name="HardwareErrors" type="t" access="read"/>
    <property name="Hits" type="t" access="read"/>
    <property name="Works" type="t" access="read"/>
    <property name="WorksInFlight" type="u" access="read"/>
    <property name="Attachments" type="u" access="read"/>
    <property name="Slowdown" type="d" access="read"/>
  </interface>
  <interface name="org.hasher.Hasher1.Session">
    <property name="Id" type="t" access="read"/>
    <property name="Name" type="s" access="read"/>
    <property name="Uid" type="u" access="read"/>
    <property name="Pid" type="i" access="read"/>
    <property name="Protocol" type="s" access="read"/>
    <property name="Credits" type="q" access="read"/>
    <property name="CreditsFree" type="q" access="read"/>
    <property name="JobsLive" type="u" access="read"/>
    <property name="Share" type="d" access="read"/>
    <property name="Works" type="t" access="read"/>
    <property name="Digests" type="t" access="read"/>
  </interface>
  <interface name="org.freedesktop.DBus.ObjectManager">
    <method name="GetManagedObjects"><arg type="a{oa{sa{sv}}}" direction="out"/></method>
    <signal name="InterfacesAdded"><arg type="o"/><arg type="a{sa{sv}}"/></signal>
    <signal name="InterfacesRemoved"><arg type="o"/><arg type="as"/></signal>
  </interface>
</node>
"""
INTERFACES = {i.name: i for i in Gio.DBusNodeInfo.new_for_xml(XML).interfaces}
MANAGER, DEVICE, SESSION = (f"{NAME}.{kind}" for kind in ("Manager", "Device", "Session"))
EMPTY = {"s": "", "ay": [], "au": [], "(dd)": (0.0, 0.0)}


def signature(interface, name):
    return next(p.signature for p in INTERFACES[interface].properties if p.name == name)


class Fake:
    """The objects and their registrations."""

    def __init__(self, connection):
        self.connection = connection
        self.objects = {}
        self.registrations = {}
        self.refusals = {}
        self.socket = None
        self.serve(ROOT, MANAGER, {
            "Version": "0.1.0", "ProtocolVersion": "1.2", "State": "running",
        })
        connection.register_object(
            ROOT, INTERFACES["org.freedesktop.DBus.ObjectManager"], self.call, None, None)

    def serve(self, path, interface, properties):
        values = {}
        for info in INTERFACES[interface].properties:
            value = properties.get(info.name, EMPTY.get(info.signature, 0))
            values[info.name] = GLib.Variant(info.signature, value)
        self.objects[path] = (interface, values)
        self.registrations[path] = self.connection.register_object(
            path, INTERFACES[interface], self.call, self.get, None)

    def put(self, path, interface, properties):
        if path not in self.objects:
            self.serve(path, interface, properties)
            self.emit("InterfacesAdded", GLib.Variant(
                "(oa{sa{sv}})", (path, {interface: self.objects[path][1]})))
            return
        changed = {
            name: GLib.Variant(signature(interface, name), value)
            for name, value in properties.items()
        }
        self.objects[path][1].update(changed)
        self.connection.emit_signal(
            None, path, "org.freedesktop.DBus.Properties", "PropertiesChanged",
            GLib.Variant("(sa{sv}as)", (interface, changed, [])))

    def drop(self, path):
        interface, _ = self.objects.pop(path)
        self.connection.unregister_object(self.registrations.pop(path))
        self.emit("InterfacesRemoved", GLib.Variant("(oas)", (path, [interface])))

    def emit(self, signal, parameters):
        self.connection.emit_signal(
            None, ROOT, "org.freedesktop.DBus.ObjectManager", signal, parameters)

    def get(self, connection, sender, path, interface, name):
        return self.objects[path][1][name]

    def call(self, connection, sender, path, interface, method, parameters, invocation):
        print(f"called {method} {path}", flush=True)
        if method in self.refusals:
            invocation.return_dbus_error(*self.refusals[method])
        elif method == "GetManagedObjects":
            # Those below the manager only; itself it is no object that it manages.
            objects = {
                p: {i: values} for p, (i, values) in self.objects.items() if p != ROOT
            }
            invocation.return_value(GLib.Variant("(a{oa{sa{sv}}})", (objects,)))
        elif method == "OpenSession":
            stream = socket.socket(socket.AF_UNIX)
            stream.connect(self.socket)
            fds = Gio.UnixFDList.new()
            fds.append(stream.fileno())
            invocation.return_value_with_unix_fd_list(GLib.Variant("(h)", (0,)), fds)
        else:
            if method in ("Pause", "Resume"):
                state = {"State": "paused", "StateReason": "paused on request"}
                if method == "Resume":
                    state = {"State": "ready", "StateReason": ""}
                self.put(path, DEVICE, state)
            invocation.return_value(None)

    def obey(self, command):
        match command:
            case ["device", str(name), dict(properties)]:
                self.put(device_path(name), DEVICE, {"Id": name, **properties})
            case ["unplug", str(name)]:
                self.drop(device_path(name))
            case ["session", int(number), dict(properties)]:
                self.put(f"{ROOT}/sessions/{number}", SESSION, {"Id": number, **properties})
            case ["end", int(number)]:
                self.drop(f"{ROOT}/sessions/{number}")
            case ["manager", dict(properties)]:
                self.put(ROOT, MANAGER, properties)
            case ["refuse", str(method), str(error), str(text)]:
                self.refusals.pop(method, None)
                if error:
                    self.refusals[method] = (error, text)
            case ["socket", str(path)]:
                self.socket = path
            case _:
                raise ValueError(f"no such command: {command}")


def device_path(name):
    escaped = "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):02x}" for c in name)
    return f"{ROOT}/devices/{escaped}"


def main():
    connection = Gio.bus_get_sync(Gio.BusType.SESSION)
    fake = Fake(connection)
    loop = GLib.MainLoop()

    def on_input(source, condition):
        line = source.readline()
        if not line:
            loop.quit()
            return False
        fake.obey(json.loads(line))
        print("ok", flush=True)
        return True

    # Unbuffered, so that a line never waits where the main loop cannot see it.
    stdin = open(0, "rb", buffering=0)
    GLib.io_add_watch(stdin, GLib.IO_IN | GLib.IO_HUP, on_input)
    Gio.bus_own_name_on_connection(connection, NAME, Gio.BusNameOwnerFlags.NONE, None, None)
    print("ready", flush=True)
    loop.run()


if __name__ == "__main__":
    sys.exit(main())
