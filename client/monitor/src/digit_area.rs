//! The 8×8 picture as a model reads it, one square a pixel.

use std::cell::Cell;
use std::rc::Rc;

use adw::prelude::*;
use hasher_monitor_core::{PICTURE_WIDTH, Picture};

use crate::accessible;

/// Side of the drawing, in pixels.
const SIDE: i32 = 208;

/// Of each pixel, 0 to 255, row by row.
type Brightness = [u8; PICTURE_WIDTH * PICTURE_WIDTH];

/// The picture.
pub struct DigitArea {
    /// To be placed in the window.
    pub widget: gtk::DrawingArea,
    brightness: Rc<Cell<Option<Brightness>>>,
}

impl DigitArea {
    /// Nothing yet.
    pub fn new() -> Self {
        let widget = accessible::picture("The picture as the model reads it");
        widget.set_content_width(SIDE);
        widget.set_content_height(SIDE);
        widget.set_halign(gtk::Align::Center);
        let brightness: Rc<Cell<Option<Brightness>>> = Rc::default();
        let drawn = brightness.clone();
        widget.set_draw_func(move |_, cr, width, height| {
            let (width, height) = (f64::from(width), f64::from(height));
            cr.set_source_rgb(0.0, 0.0, 0.0);
            rounded(cr, width, height);
            cr.clip();
            // Cairo only fails when memory is gone; the next frame tries again.
            _ = cr.paint();
            let Some(pixels) = drawn.get() else { return };
            let (step_x, step_y) = (width / PICTURE_WIDTH as f64, height / PICTURE_WIDTH as f64);
            for (at, level) in pixels.into_iter().enumerate() {
                let (column, row) = (at % PICTURE_WIDTH, at / PICTURE_WIDTH);
                let grey = f64::from(level) / 255.0;
                cr.set_source_rgb(grey, grey, grey);
                cr.rectangle(column as f64 * step_x, row as f64 * step_y, step_x, step_y);
                _ = cr.fill();
            }
        });
        Self { widget, brightness }
    }

    /// Shows this picture.
    pub fn show(&self, picture: &Picture) {
        self.brightness.set(Some(picture.brightness()));
        let description = format!("{}, in 8 by 8 grey levels", picture.name);
        self.widget.set_tooltip_text(Some(&description));
        self.widget.queue_draw();
    }
}

fn rounded(cr: &gtk::cairo::Context, width: f64, height: f64) {
    use std::f64::consts::FRAC_PI_2;
    const RADIUS: f64 = 8.0;
    let (right, bottom) = (width - RADIUS, height - RADIUS);
    let corners = [
        (right, RADIUS),
        (right, bottom),
        (RADIUS, bottom),
        (RADIUS, RADIUS),
    ];
    cr.new_path();
    for (corner, (x, y)) in corners.into_iter().enumerate() {
        let start = (corner as f64 - 1.0) * FRAC_PI_2;
        cr.arc(x, y, RADIUS, start, start + FRAC_PI_2);
    }
    cr.close_path();
}
