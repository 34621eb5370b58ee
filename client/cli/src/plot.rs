//! The accuracy-over-passes plot as an SVG text.
//!
//! Owns one picture and its layout. Pure: points in, text out; the caller writes
//! the file. Written by hand because a plotting library would be the largest
//! dependency of the product for forty lines of SVG.

use std::fmt::Write as _;

/// One measured point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Passes averaged, at least 1.
    pub passes: u16,
    /// Share of right answers, 0 to 1.
    pub accuracy: f64,
    /// One standard error of the accuracy, 0 to 1.
    pub error: f64,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
/// Left, top, right and bottom edge of the plotted area.
const AREA: (f64, f64, f64, f64) = (72.0, 64.0, 612.0, 336.0);
/// Grid lines aimed at; the step is rounded to a readable number.
const LINES_AIM: f64 = 5.0;

/// Draws `points` (in rising order of passes) under a title and a smaller line.
pub fn accuracy_svg(title: &str, subtitle: &str, points: &[Point]) -> String {
    let scale = Scale::of(points);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <title>{}</title>\n\
         <style>\n\
         .paper{{fill:#fff}} text{{fill:#333}} .quiet{{fill:#777}} .grid{{stroke:#e3e3e3}}\n\
         .line{{stroke:#1f6fb2;fill:none;stroke-width:2}} .dot{{fill:#1f6fb2}} \
         .bar{{stroke:#1f6fb2;opacity:.55}}\n\
         @media (prefers-color-scheme: dark) {{ .paper{{fill:#16181c}} text{{fill:#ddd}} \
         .quiet{{fill:#999}} .grid{{stroke:#333}} .line,.bar{{stroke:#6db3ee}} .dot{{fill:#6db3ee}} }}\n\
         </style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text x=\"{left}\" y=\"28\" font-size=\"17\" font-weight=\"600\">{}</text>\n\
         <text class=\"quiet\" x=\"{left}\" y=\"47\">{}</text>\n",
        escape(title),
        escape(title),
        escape(subtitle),
        left = AREA.0,
    );
    grid(&mut svg, &scale, points);
    curve(&mut svg, &scale, points);
    svg.push_str("</svg>\n");
    svg
}

fn grid(svg: &mut String, scale: &Scale, points: &[Point]) {
    let (left, _, right, bottom) = AREA;
    let mut percent = scale.low;
    while percent <= scale.high + 1e-9 {
        let y = scale.y(percent / 100.0);
        put(
            svg,
            format_args!(
                "<line class=\"grid\" x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\n\
                 <text class=\"quiet\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>\n",
                left - 8.0,
                y + 4.0,
            ),
        );
        percent += scale.step;
    }
    for point in points {
        put(
            svg,
            format_args!(
                "<text class=\"quiet\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                scale.x(point.passes),
                bottom + 20.0,
                point.passes
            ),
        );
    }
    put(
        svg,
        format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">passes averaged \
             (logarithmic scale)</text>\n",
            f64::midpoint(left, right),
            bottom + 46.0
        ),
    );
}

fn curve(svg: &mut String, scale: &Scale, points: &[Point]) {
    let corners: Vec<_> = points
        .iter()
        .map(|p| format!("{:.1},{:.1}", scale.x(p.passes), scale.y(p.accuracy)))
        .collect();
    put(
        svg,
        format_args!(
            "<polyline class=\"line\" points=\"{}\"/>\n",
            corners.join(" ")
        ),
    );
    for point in points {
        let (x, y) = (scale.x(point.passes), scale.y(point.accuracy));
        let (low, high) = (
            scale.y((point.accuracy - point.error).max(scale.low / 100.0)),
            scale.y((point.accuracy + point.error).min(scale.high / 100.0)),
        );
        put(
            svg,
            format_args!(
                "<line class=\"bar\" x1=\"{x:.1}\" y1=\"{low:.1}\" x2=\"{x:.1}\" y2=\"{high:.1}\"/>\n\
                 <circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\">{:.1} %</text>\n",
                x + 7.0,
                y - 8.0,
                point.accuracy * 100.0
            ),
        );
    }
}

fn put(svg: &mut String, text: std::fmt::Arguments<'_>) {
    svg.write_fmt(text).expect("a String takes every text");
}

/// From passes and accuracy to places on the paper.
struct Scale {
    /// Accuracy at the bottom and at the top, in per cent, and between grid lines.
    low: f64,
    high: f64,
    step: f64,
    passes_min: f64,
    passes_max: f64,
}

impl Scale {
    fn of(points: &[Point]) -> Self {
        let edge = |start: f64, pick: fn(f64, f64) -> f64, sign: f64| {
            points.iter().fold(start, |edge, p| {
                pick(edge, (p.accuracy + sign * p.error) * 100.0)
            })
        };
        let low = edge(100.0, f64::min, -1.0).clamp(0.0, 100.0);
        let high = edge(0.0, f64::max, 1.0).clamp(low, 100.0);
        let step = nice_step((high - low).max(1.0) / LINES_AIM);
        let passes = |pick: fn(u16, u16) -> u16, start| {
            f64::from(points.iter().map(|p| p.passes.max(1)).fold(start, pick))
        };
        Self {
            low: (low / step).floor() * step,
            high: ((high / step).ceil() * step).min(100.0),
            step,
            passes_min: passes(u16::min, u16::MAX),
            passes_max: passes(u16::max, 1),
        }
    }

    fn x(&self, passes: u16) -> f64 {
        let span = (self.passes_max / self.passes_min).ln();
        let share = if span > 0.0 {
            (f64::from(passes.max(1)) / self.passes_min).ln() / span
        } else {
            0.5
        };
        // A margin on both sides keeps the labels inside.
        AREA.0 + 24.0 + share * (AREA.2 - AREA.0 - 72.0)
    }

    fn y(&self, accuracy: f64) -> f64 {
        let span = (self.high - self.low).max(f64::MIN_POSITIVE);
        AREA.3 - (accuracy * 100.0 - self.low) / span * (AREA.3 - AREA.1)
    }
}

/// The next of 0.5, 1, 2, 5, 10, 20 that is at least `wanted` per cent.
fn nice_step(wanted: f64) -> f64 {
    const STEPS: [f64; 6] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0];
    let last = STEPS[STEPS.len() - 1];
    STEPS
        .into_iter()
        .find(|step| *step >= wanted)
        .unwrap_or(last)
}

/// A text as the content of an SVG element.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(passes: u16, accuracy: f64) -> Point {
        Point {
            passes,
            accuracy,
            error: 0.006,
        }
    }

    #[test]
    fn every_point_is_drawn_with_its_figure() {
        let points = [point(1, 0.978), point(5, 0.982), point(21, 0.986)];
        let svg = accuracy_svg("Digits <test>", "450 images", &points);
        assert_eq!(svg.matches("<circle").count(), 3);
        for figure in [
            "97.8 %",
            "98.2 %",
            "98.6 %",
            "Digits &lt;test&gt;",
            "450 images",
        ] {
            assert!(svg.contains(figure), "{figure}");
        }
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn all_marks_lie_inside_the_paper() {
        for points in [
            vec![point(1, 0.0), point(1000, 1.0)],
            vec![point(1, 1.0)],
            vec![point(3, 0.1), point(5, 0.1)],
        ] {
            let scale = Scale::of(&points);
            for p in &points {
                let (x, y) = (scale.x(p.passes), scale.y(p.accuracy));
                assert!((AREA.0..=AREA.2).contains(&x), "{x}");
                assert!((AREA.1 - 1e-6..=AREA.3 + 1e-6).contains(&y), "{y}");
            }
        }
    }

    #[test]
    fn no_point_at_all_still_makes_a_picture() {
        assert!(!accuracy_svg("a", "b", &[]).contains("NaN"));
    }
}
