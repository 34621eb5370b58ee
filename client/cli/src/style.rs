//! Colours for people at a terminal, and nothing for everybody else.
//!
//! Owns the decision whether to colour and the few styles the product uses.

use std::env;
use std::io::{self, IsTerminal};

/// Whether and how to decorate text. Every method gives the text back unchanged
/// when decoration is off.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    colour: bool,
    unicode: bool,
}

impl Style {
    /// For standard output: colour only on a terminal that can show it and when
    /// `NO_COLOR` (<https://no-color.org>) is not set.
    pub fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            colour: terminal && !refused && !dumb,
            unicode: locale_is_utf8(),
        }
    }

    /// Without colours.
    #[cfg(test)]
    pub const fn plain(unicode: bool) -> Self {
        Self {
            colour: false,
            unicode,
        }
    }

    /// The same without colours, for text that something else colours.
    pub const fn without_colour(self) -> Self {
        Self {
            colour: false,
            ..self
        }
    }

    /// Whether colours are on.
    pub const fn has_colour(self) -> bool {
        self.colour
    }

    /// Whether the locale can show block characters.
    pub const fn has_unicode(self) -> bool {
        self.unicode
    }

    /// Headings and the one number that matters.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Explanations beside the matter.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// What went well.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What needs attention.
    pub fn bad(self, text: &str) -> String {
        self.paint("33", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// As the C library decides: the first of these variables that is set and not
/// empty. Nothing set means plain ASCII.
fn locale_is_utf8() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
        .is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_text_stays_as_it_is() {
        assert_eq!(Style::plain(true).bold("x"), "x");
    }
}
