//! From OpenMetrics text to Prometheus' text format 0.0.4.
//!
//! Pure. Of the differences only those that our metrics meet are handled: in 0.0.4 a
//! counter's family has the name of its samples, with `_total`, and there are neither
//! units nor an end mark.
//!
//! Sources: <https://prometheus.io/docs/instrumenting/exposition_formats/> and
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

/// The same metrics in format 0.0.4. `text` is what prometheus-client writes: of each
/// family its HELP, its TYPE, then its samples.
pub fn from_open_metrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        // HELP comes before the TYPE that decides about the name of both.
        let type_line = match line.strip_prefix("# HELP ") {
            Some(_) => lines.peek().copied().unwrap_or_default(),
            None => line,
        };
        let is_counter = type_line.starts_with("# TYPE ") && type_line.ends_with(" counter");
        match describes(line) {
            Some((keyword, name, rest)) if is_counter => {
                out.push_str(&format!("# {keyword} {name}_total {rest}\n"));
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

/// Keyword, name and the rest of a line about a family.
fn describes(line: &str) -> Option<(&str, &str, &str)> {
    let (keyword, rest) = line.strip_prefix("# ")?.split_once(' ')?;
    let (name, rest) = rest.split_once(' ')?;
    Some((keyword, name, rest))
}
