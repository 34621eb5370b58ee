//! A graph of the last minutes.
//!
//! Owns pixels and colours; scales, labels and curves come from the core's `Chart`.

use std::cell::RefCell;
use std::rc::Rc;

use adw::prelude::*;
use gtk::{cairo, gdk, pango};
use hasher_monitor_core::{Chart, Curve, Tick};

use crate::accessible;

/// Height of the drawing, in pixels.
const HEIGHT: i32 = 150;
/// Room for the labels of the axes: left, right, top, bottom.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
/// Size of the labels, relative to the window's text.
const LABEL_SCALE: f64 = 0.8;
/// Strength of the grid, the line to compare with, and the labels, over the text's
/// colour.
const GRID_ALPHA: f64 = 0.14;
const REFERENCE_ALPHA: f64 = 0.6;
const LABEL_ALPHA: f64 = 0.7;
/// Pattern of the line to compare with, in pixels.
const DASHES: [f64; 2] = [5.0, 3.0];
/// Colours of the second and further curves; the first has the accent's.
const COLOURS: [(f64, f64, f64); 4] = [
    (0.90, 0.38, 0.0),
    (0.18, 0.76, 0.49),
    (0.57, 0.25, 0.67),
    (0.75, 0.11, 0.16),
];

/// The graph with its heading and legend.
pub struct ChartArea {
    /// To be placed in the window.
    pub widget: gtk::Box,
    title: gtk::Label,
    now: gtk::Label,
    legend: gtk::Box,
    /// What the legend shows now.
    legend_names: RefCell<Vec<String>>,
    area: gtk::DrawingArea,
    chart: Rc<RefCell<Option<Chart>>>,
}

impl ChartArea {
    /// An empty graph of this name.
    pub fn new(name: &str) -> Self {
        let title = gtk::Label::builder().xalign(0.0).hexpand(true).build();
        title.add_css_class("dim-label");
        let now = gtk::Label::new(None);
        now.add_css_class("heading");
        now.add_css_class("numeric");
        let heading = gtk::Box::new(gtk::Orientation::Horizontal, 12);
        heading.append(&title);
        heading.append(&now);

        let area = accessible::picture(name);
        area.set_content_height(HEIGHT);
        area.set_hexpand(true);
        let legend = gtk::Box::new(gtk::Orientation::Horizontal, 16);
        legend.set_visible(false);
        legend.set_halign(gtk::Align::Center);
        let widget = gtk::Box::new(gtk::Orientation::Vertical, 6);
        widget.add_css_class("card");
        widget.add_css_class("panel");
        widget.append(&heading);
        widget.append(&area);
        widget.append(&legend);

        let chart: Rc<RefCell<Option<Chart>>> = Rc::default();
        let drawn = chart.clone();
        area.set_draw_func(move |area, cr, width, height| {
            if let Some(chart) = drawn.borrow().as_ref() {
                let painter = Painter::new(area, cr, width, height);
                // Cairo only fails when memory is gone; the next frame tries again.
                _ = painter.paint(chart);
            }
        });
        Self {
            widget,
            title,
            now,
            legend,
            legend_names: RefCell::default(),
            area,
            chart,
        }
    }

    /// Shows this graph; nothing hides it.
    pub fn show(&self, chart: Option<Chart>) {
        self.widget.set_visible(chart.is_some());
        if let Some(chart) = &chart {
            self.title.set_label(&chart.title);
            self.now.set_label(&chart.now);
            self.area.set_tooltip_text(Some(&chart.description));
            self.show_legend(chart);
        }
        self.chart.replace(chart);
        self.area.queue_draw();
    }

    fn show_legend(&self, chart: &Chart) {
        let curves = chart.curves.iter().map(|curve| curve.name.clone());
        let reference = chart.reference.iter().map(|tick| tick.label.clone());
        let names: Vec<String> = curves.chain(reference).collect();
        if self.legend_names.replace(names.clone()) == names {
            return;
        }
        while let Some(child) = self.legend.first_child() {
            self.legend.remove(&child);
        }
        let named = chart.curves.iter().filter(|curve| !curve.name.is_empty());
        for (index, curve) in named.enumerate() {
            self.legend
                .append(&legend_entry(&curve.name, move |area, cr| {
                    let (r, g, b) = colour(area, index);
                    cr.set_source_rgb(r, g, b);
                    cr.set_line_width(2.5);
                }));
        }
        if let Some(reference) = &chart.reference {
            self.legend
                .append(&legend_entry(&reference.label, |area, cr| {
                    let text = area.style_context().color();
                    let (r, g, b) = (text.red(), text.green(), text.blue());
                    cr.set_source_rgba(r.into(), g.into(), b.into(), REFERENCE_ALPHA);
                    cr.set_line_width(1.0);
                    cr.set_dash(&DASHES, 0.0);
                }));
        }
        self.legend.set_visible(self.legend.first_child().is_some());
    }
}

/// A short line, drawn as `style` sets it, and its name.
fn legend_entry(
    name: &str,
    style: impl Fn(&gtk::DrawingArea, &cairo::Context) + 'static,
) -> gtk::Box {
    let line = gtk::DrawingArea::builder()
        .content_width(20)
        .content_height(12)
        .valign(gtk::Align::Center)
        .accessible_role(gtk::AccessibleRole::Presentation)
        .build();
    line.set_draw_func(move |area, cr, width, height| {
        style(area, cr);
        // Half a pixel down, so that a thin line is one pixel wide.
        let y = f64::from(height / 2) + 0.5;
        cr.move_to(0.0, y);
        cr.line_to(f64::from(width), y);
        _ = cr.stroke();
    });
    let name = gtk::Label::new(Some(name));
    name.add_css_class("caption");
    let entry = gtk::Box::new(gtk::Orientation::Horizontal, 6);
    entry.append(&line);
    entry.append(&name);
    entry
}

fn colour(area: &gtk::DrawingArea, index: usize) -> (f64, f64, f64) {
    if index > 0 {
        return COLOURS[(index - 1) % COLOURS.len()];
    }
    let accent = area.style_context().lookup_color("accent_bg_color");
    accent.map_or((0.21, 0.52, 0.89), |c| {
        (c.red().into(), c.green().into(), c.blue().into())
    })
}

/// One drawing of one graph.
struct Painter<'a> {
    area: &'a gtk::DrawingArea,
    cr: &'a cairo::Context,
    text: gdk::RGBA,
    width: f64,
    height: f64,
}

impl<'a> Painter<'a> {
    fn new(area: &'a gtk::DrawingArea, cr: &'a cairo::Context, width: i32, height: i32) -> Self {
        Self {
            area,
            cr,
            text: area.style_context().color(),
            width: (f64::from(width) - LEFT - RIGHT).max(1.0),
            height: (f64::from(height) - TOP - BOTTOM).max(1.0),
        }
    }

    fn paint(&self, chart: &Chart) -> Result<(), cairo::Error> {
        for tick in &chart.values {
            self.level(self.y(tick.at), GRID_ALPHA, &[])?;
            self.label(&tick.label, LEFT - 8.0, self.y(tick.at), (1.0, 0.5))?;
        }
        self.time_labels(&chart.times)?;
        for (index, curve) in chart.curves.iter().enumerate() {
            self.curve(curve, colour(self.area, index), chart.curves.len() == 1)?;
        }
        if let Some(reference) = &chart.reference {
            self.level(self.y(reference.at), REFERENCE_ALPHA, &DASHES)?;
        }
        Ok(())
    }

    /// As many labels as have room, always with the last.
    fn time_labels(&self, times: &[Tick]) -> Result<(), cairo::Error> {
        let y = TOP + self.height + 6.0;
        let room = 64.0;
        let every = (times.len() as f64 * room / self.width).ceil().max(1.0) as usize;
        for (index, tick) in times.iter().rev().enumerate() {
            if index % every == 0 {
                // Those at the ends stay inside.
                let anchor = if index == 0 { 1.0 } else { 0.5 };
                let anchor = if tick.at <= 0.0 { 0.2 } else { anchor };
                self.label(&tick.label, self.x(tick.at), y, (anchor, 0.0))?;
            }
        }
        Ok(())
    }

    fn curve(
        &self,
        curve: &Curve,
        (r, g, b): (f64, f64, f64),
        is_alone: bool,
    ) -> Result<(), cairo::Error> {
        for piece in &curve.pieces {
            let (Some(first), Some(last)) = (piece.first(), piece.last()) else {
                continue;
            };
            self.cr.new_path();
            if piece.len() == 1 {
                // A line of no length would not be seen.
                self.cr.move_to(self.x(first.0) - 1.0, self.y(first.1));
            }
            for (x, y) in piece {
                self.cr.line_to(self.x(*x), self.y(*y));
            }
            self.cr.set_source_rgb(r, g, b);
            self.cr.set_line_width(2.0);
            self.cr.set_line_join(cairo::LineJoin::Round);
            self.cr.set_line_cap(cairo::LineCap::Round);
            if !is_alone {
                self.cr.stroke()?;
                continue;
            }
            self.cr.stroke_preserve()?;
            self.cr.line_to(self.x(last.0), self.y(0.0));
            self.cr.line_to(self.x(first.0), self.y(0.0));
            self.cr.close_path();
            self.cr.set_source_rgba(r, g, b, 0.12);
            self.cr.fill()?;
        }
        Ok(())
    }

    /// A line over the whole width.
    fn level(&self, y: f64, alpha: f64, dashes: &[f64]) -> Result<(), cairo::Error> {
        // Half a pixel down, so that the line is one pixel wide.
        let y = y.floor() + 0.5;
        self.set_text_colour(alpha);
        self.cr.set_line_width(1.0);
        self.cr.set_dash(dashes, 0.0);
        self.cr.move_to(LEFT, y);
        self.cr.line_to(LEFT + self.width, y);
        let drawn = self.cr.stroke();
        self.cr.set_dash(&[], 0.0);
        drawn
    }

    /// Text whose point `anchor` (shares of its width and height) lies at x, y.
    fn label(&self, text: &str, x: f64, y: f64, anchor: (f64, f64)) -> Result<(), cairo::Error> {
        let layout = self.area.create_pango_layout(Some(text));
        let attributes = pango::AttrList::new();
        attributes.insert(pango::AttrFloat::new_scale(LABEL_SCALE));
        layout.set_attributes(Some(&attributes));
        let (width, height) = layout.pixel_size();
        self.set_text_colour(LABEL_ALPHA);
        self.cr.move_to(
            (x - anchor.0 * f64::from(width)).floor(),
            (y - anchor.1 * f64::from(height)).floor(),
        );
        pangocairo::functions::show_layout(self.cr, &layout);
        self.cr.new_path();
        self.cr.status()
    }

    fn set_text_colour(&self, alpha: f64) {
        let (r, g, b) = (self.text.red(), self.text.green(), self.text.blue());
        self.cr.set_source_rgba(r.into(), g.into(), b.into(), alpha);
    }

    fn x(&self, share: f64) -> f64 {
        LEFT + share * self.width
    }

    fn y(&self, share: f64) -> f64 {
        TOP + (1.0 - share) * self.height
    }
}
