//! The documented default file.

use super::kind::Kind;
use super::table::{Section, Setting, sections};

/// Widest line of the comments.
const WIDTH: usize = 80;

/// A file with every setting, explained, at its default and commented out: what stands
/// in it holds without it.
pub fn default_file() -> String {
    let mut file = String::new();
    paragraph(
        &mut file,
        "Settings of hasherd. What is commented out is the default. Check changes with \
         `hasherd --check-config`; `systemctl reload hasherd` applies what needs no restart.",
    );
    for section in sections() {
        file.push('\n');
        put_section(&mut file, section);
    }
    file
}

fn put_section(file: &mut String, section: &Section) {
    paragraph(file, section.meaning());
    // A heading without settings would be legal, but for a port or a user it would name
    // one that may not exist.
    if let Some(heading) = section.example() {
        let mark = if section.is_repeated() { "# " } else { "" };
        put_line(file, &format!("{mark}{heading}"));
    }
    for setting in section.settings() {
        file.push('\n');
        put_setting(file, setting);
    }
}

fn put_setting(file: &mut String, setting: &Setting) {
    let mut facts: Vec<String> = Vec::new();
    match (setting.kind(), setting.unit()) {
        (Kind::Whole { least, most }, "") => facts.push(format!("{least} to {most}")),
        (Kind::Whole { least, most }, unit) => facts.push(format!("{least} to {most} {unit}")),
        (_, "") => {}
        (_, unit) => facts.push(unit.to_owned()),
    }
    if setting.default_value().is_none() {
        facts.push(format!("default: {}", setting.default()));
    }
    facts.push(format!("takes effect {}", setting.effect().as_str()));
    paragraph(
        file,
        &format!("{} ({})", setting.meaning(), facts.join("; ")),
    );
    put_line(
        file,
        &format!("# {} = {}", setting.name(), setting.example()),
    );
}

fn put_line(file: &mut String, line: &str) {
    file.push_str(line);
    file.push('\n');
}

/// A comment, wrapped.
fn paragraph(file: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            put_line(file, &line);
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    put_line(file, &line);
}
