"""The app's widgets as assistive technology sees them.

What a test finds here, a person with a screen reader finds too; so a control
without a name fails the test.
"""
import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, GLib  # noqa: E402

from desktop import wait_for  # noqa: E402


class App:
    """The app with this name on the accessibility bus."""

    def __init__(self, name):
        self.name = name
        # Bound of one call, and of one while the app starts, in milliseconds.
        Atspi.set_timeout(2000, 5000)
        wait_for(f"{name} on the accessibility bus", self.root)

    def root(self):
        desktop = Atspi.get_desktop(0)
        for index in range(desktop.get_child_count()):
            app = desktop.get_child_at_index(index)
            if app is not None and app.get_name() == self.name:
                # What the library remembers is only true while its events are read.
                app.set_cache_mask(Atspi.Cache.NONE)
                return app
        return None

    def all(self):
        """Every widget that is not hidden, from the root down."""
        root = self.root()
        waiting = [root] if root else []
        found = []
        while waiting:
            widget = waiting.pop()
            try:
                states = widget.get_state_set()
                if widget is not root and not states.contains(Atspi.StateType.VISIBLE):
                    continue
                found.append(widget)
                count = widget.get_child_count()
                children = [widget.get_child_at_index(index) for index in range(count)]
            except GLib.Error:
                continue  # It went away meanwhile.
            waiting.extend(child for child in reversed(children) if child is not None)
        return found

    def visible(self):
        """Name, role and widget of all that has a place in the window."""
        for widget in self.all():
            try:
                if has_place(widget):
                    yield text_of(widget), widget.get_role_name(), widget
            except GLib.Error:
                continue

    def find(self, name, role=None):
        for text, kind, widget in self.visible():
            if text == name and role in (None, kind):
                return widget
        return None

    def wait(self, name, role=None):
        """The visible widget with this name."""
        return wait_for(f"{role or 'widget'} “{name}”", lambda: self.find(name, role))

    def wait_text(self, part):
        """The first visible text that contains `part`."""
        return wait_for(f"a text with “{part}”", lambda: next(
            (text for text, _, _ in self.visible() if part in text), None))

    def wait_gone(self, name, role=None):
        wait_for(f"no {role or 'widget'} “{name}”", lambda: self.find(name, role) is None)

    def press(self, name, role="push button"):
        """Waits until the control can be used, and uses it."""
        def usable():
            widget = self.find(name, role)
            if widget is None:
                return None
            sensitive = widget.get_state_set().contains(Atspi.StateType.SENSITIVE)
            return widget if sensitive else None
        widget = wait_for(f"usable {role} “{name}”", usable)
        if not Atspi.Action.do_action(widget, 0):
            raise AssertionError(f"{role} “{name}” does nothing")

    def place(self, name):
        """The middle of the visible widget with this name, in pixels of the window."""
        extents = Atspi.Component.get_extents(self.wait(name), Atspi.CoordType.WINDOW)
        return extents.x + extents.width // 2, extents.y + extents.height // 2

    def nameless(self):
        """Visible controls that a screen reader could not announce."""
        controls = {"push button", "toggle button", "check box", "switch", "list",
                    "list item"}
        return [
            f"{kind} {path_of(widget)}" for text, kind, widget in self.visible()
            if kind in controls and not text
        ]

    def tree(self):
        """All that is visible, for messages."""
        return "\n".join(f"{kind}: {text}" for text, kind, _ in self.visible() if text)


def has_place(widget):
    """Pages that were never shown have no size yet."""
    if "Component" not in widget.get_interfaces():
        return True
    extents = Atspi.Component.get_extents(widget, Atspi.CoordType.WINDOW)
    return extents.width > 0 and extents.height > 0


def text_of(widget):
    name = widget.get_name()
    # Where there is no name, GTK puts the class.
    if name and not name.startswith(("Gtk", "Adw")):
        return name
    return ""


def path_of(widget):
    names = []
    while widget is not None and len(names) < 6:
        names.append(widget.get_role_name())
        widget = widget.get_parent()
    return " < ".join(names)
