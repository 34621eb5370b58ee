//! Line charts as SVG text: learning curves, reliability, abstention.
//!
//! Owns one layout for all of them. Pure: points in, text out; the caller writes the
//! file.

use std::fmt::Write as _;

use crate::plot::escape;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
/// Left, top, right and bottom edge of the plotted area.
const AREA: (f64, f64, f64, f64) = (72.0, 64.0, 612.0, 336.0);
/// Lines of the grid in each direction.
const GRID: u32 = 5;
/// Colours of the series, readable on white and on black.
const COLOURS: [&str; 4] = ["#1f6fb2", "#c9562b", "#3c8d40", "#8a5ab5"];

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What it shows.
    pub name: String,
    /// (x, y), finite, in rising order of x.
    pub points: Vec<(f64, f64)>,
}

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// First line.
    pub title: String,
    /// What the horizontal axis shows.
    pub x: String,
    /// What the vertical axis shows.
    pub y: String,
    /// At most four.
    pub series: Vec<Series>,
    /// Whether the line y = x is drawn, as for calibration.
    pub has_diagonal: bool,
}

impl Chart {
    /// The picture.
    pub fn svg(&self) -> String {
        let scale = Scale::of(self);
        let (left, top, right, bottom) = AREA;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
             <title>{title}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{left}\" y=\"28\" font-size=\"17\" font-weight=\"600\">{title}</text>\n\
             <text x=\"{left}\" y=\"{}\" fill=\"#777\">{}</text>\n\
             <text x=\"{}\" y=\"{}\" fill=\"#777\" text-anchor=\"middle\">{}</text>\n",
            top - 10.0,
            escape(&self.y),
            f64::midpoint(left, right),
            bottom + 44.0,
            escape(&self.x),
            title = escape(&self.title),
        );
        self.grid(&mut svg, &scale);
        for (series, colour) in self.series.iter().zip(COLOURS) {
            let corners: Vec<_> = series
                .points
                .iter()
                .map(|(x, y)| format!("{:.1},{:.1}", scale.x(*x), scale.y(*y)))
                .collect();
            put(
                &mut svg,
                format_args!(
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
                    corners.join(" ")
                ),
            );
        }
        for (at, (series, colour)) in self.series.iter().zip(COLOURS).enumerate() {
            put(
                &mut svg,
                format_args!(
                    "<text x=\"{}\" y=\"{}\" fill=\"{colour}\">{}</text>\n",
                    left + 150.0 * at as f64,
                    bottom + 60.0,
                    escape(&series.name)
                ),
            );
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn grid(&self, svg: &mut String, scale: &Scale) {
        let (left, top, right, bottom) = AREA;
        for step in 0..=GRID {
            let share = f64::from(step) / f64::from(GRID);
            let x = scale.x_low + share * (scale.x_high - scale.x_low);
            let y = scale.y_low + share * (scale.y_high - scale.y_low);
            let (at_x, at_y) = (scale.x(x), scale.y(y));
            put(
                svg,
                format_args!(
                    "<line x1=\"{left}\" y1=\"{at_y:.1}\" x2=\"{right}\" y2=\"{at_y:.1}\" stroke=\"#e3e3e3\"/>\n\
                     <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#777\" text-anchor=\"end\">{}</text>\n\
                     <text x=\"{at_x:.1}\" y=\"{:.1}\" fill=\"#777\" text-anchor=\"middle\">{}</text>\n",
                    left - 8.0,
                    at_y + 4.0,
                    number(y),
                    bottom + 20.0,
                    number(x),
                ),
            );
        }
        if self.has_diagonal {
            let low = scale.x_low.max(scale.y_low);
            let high = scale.x_high.min(scale.y_high);
            put(
                svg,
                format_args!(
                    "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#999\" \
                     stroke-dasharray=\"4 4\"/>\n",
                    scale.x(low),
                    scale.y(low),
                    scale.x(high),
                    scale.y(high)
                ),
            );
        }
        put(
            svg,
            format_args!(
                "<line x1=\"{left}\" y1=\"{top}\" x2=\"{left}\" y2=\"{bottom}\" stroke=\"#999\"/>\n"
            ),
        );
    }
}

struct Scale {
    x_low: f64,
    x_high: f64,
    y_low: f64,
    y_high: f64,
}

impl Scale {
    fn of(chart: &Chart) -> Self {
        let all = || chart.series.iter().flat_map(|series| &series.points);
        let (x_low, x_high) = range(all().map(|(x, _)| *x));
        let (y_low, y_high) = range(all().map(|(_, y)| *y));
        Self {
            x_low,
            x_high,
            y_low,
            y_high,
        }
    }

    fn x(&self, x: f64) -> f64 {
        AREA.0 + (x - self.x_low) / (self.x_high - self.x_low) * (AREA.2 - AREA.0)
    }

    fn y(&self, y: f64) -> f64 {
        AREA.3 - (y - self.y_low) / (self.y_high - self.y_low) * (AREA.3 - AREA.1)
    }
}

/// Ends of finite values, never equal.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if low < high {
        (low, high)
    } else if low == high {
        (low - 0.5, high + 0.5)
    } else {
        (0.0, 1.0)
    }
}

/// A number with as many decimals as its size needs.
fn number(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

fn put(svg: &mut String, text: std::fmt::Arguments<'_>) {
    svg.write_fmt(text).expect("a String takes every text");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        Chart {
            title: "a <b>".to_owned(),
            x: "x".to_owned(),
            y: "y".to_owned(),
            series: vec![Series {
                name: "s".to_owned(),
                points,
            }],
            has_diagonal: true,
        }
    }

    #[test]
    fn every_point_lies_in_the_plotted_area() {
        let points = vec![(0.0, 3.0), (5.0, -1.0), (9.0, 2.0)];
        let scale = Scale::of(&chart(points.clone()));
        for (x, y) in points {
            assert!((AREA.0..=AREA.2).contains(&scale.x(x)));
            assert!((AREA.1..=AREA.3).contains(&scale.y(y)));
        }
    }

    #[test]
    fn a_picture_without_points_or_with_one_has_no_nan() {
        for points in [vec![], vec![(1.0, 1.0)]] {
            let svg = chart(points).svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains("a &lt;b&gt;") && svg.ends_with("</svg>\n"));
        }
    }
}
