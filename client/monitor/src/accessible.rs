//! Names for people who do not see the window.
//!
//! The bindings offer GTK's function for that from GTK 4.10 on only, but every GTK 4
//! takes names from an interface description. So a widget that needs a name is made
//! from one. What a label or a tooltip says needs nothing from here: GTK reads them
//! out itself.

use gtk::glib::{self, prelude::*};

/// A plain widget of this class with a name.
pub fn named<W: IsA<glib::Object>>(name: &str) -> W {
    build(&format!(
        "<object class='{}' id='it'>{}</object>",
        W::static_type().name(),
        label(name)
    ))
}

/// A drawing that is read out as a picture with a name; its tooltip describes it.
pub fn picture(name: &str) -> gtk::DrawingArea {
    build(&format!(
        "<object class='GtkDrawingArea' id='it'><property name='accessible-role'>img</property>{}\
         </object>",
        label(name)
    ))
}

/// A row of a list that is read out as the label says, which is to be put into it.
pub fn labelled_row() -> (gtk::ListBoxRow, gtk::Label) {
    let builder = gtk::Builder::from_string(
        "<interface><object class='GtkLabel' id='label'/><object class='GtkListBoxRow' id='row'>\
         <accessibility><relation name='labelled-by'>label</relation></accessibility></object>\
         </interface>",
    );
    let part = "the description names its objects so";
    (
        builder.object("row").expect(part),
        builder.object("label").expect(part),
    )
}

fn label(name: &str) -> String {
    let name = glib::markup_escape_text(name);
    format!("<accessibility><property name='label'>{name}</property></accessibility>")
}

fn build<W: IsA<glib::Object>>(object: &str) -> W {
    gtk::Builder::from_string(&format!("<interface>{object}</interface>"))
        .object("it")
        .expect("the description names its only object so")
}
