//! Writing TOML, with every line knowing where in PgBouncer's files it comes from.

use std::fmt::Write as _;

use super::ini::Place;

/// `key = value` in a section.
#[derive(Debug, Clone)]
struct Line {
    key: String,
    value: String,
    place: Option<Place>,
    comment: Option<String>,
}

#[derive(Debug)]
struct Section {
    header: String,
    place: Option<Place>,
    lines: Vec<Line>,
    /// What has no equivalent.
    comments: Vec<String>,
}

/// A TOML file in the making.
#[derive(Debug, Default)]
pub struct Document(Vec<Section>);

impl Document {
    /// The section of this name, at the end if it is new. Names are quoted as they must be.
    fn section(&mut self, path: &[&str]) -> &mut Section {
        let header = path
            .iter()
            .map(|part| key(part))
            .collect::<Vec<_>>()
            .join(".");
        let at = match self.0.iter().position(|s| s.header == header) {
            Some(at) => at,
            None => {
                self.0.push(Section {
                    header,
                    place: None,
                    lines: Vec::new(),
                    comments: Vec::new(),
                });
                self.0.len() - 1
            }
        };
        &mut self.0[at]
    }

    /// Begins a section, without what it had.
    pub fn begin(&mut self, path: &[&str], place: &Place) {
        let section = self.section(path);
        section.place = Some(place.clone());
        section.lines.clear();
        section.comments.clear();
    }

    /// Sets a key; a value that was set before is replaced.
    pub fn set(&mut self, path: &[&str], key: &str, value: String, place: Option<&Place>) {
        let section = self.section(path);
        section.lines.retain(|line| line.key != key);
        section.lines.push(Line {
            key: key.to_owned(),
            value,
            place: place.cloned(),
            comment: None,
        });
    }

    /// Sets a key if it is not set, with a comment behind it.
    pub fn set_default(&mut self, path: &[&str], key: &str, value: &str, comment: &str) {
        let section = self.section(path);
        if section.lines.iter().all(|line| line.key != key) {
            section.lines.push(Line {
                key: key.to_owned(),
                value: value.to_owned(),
                place: None,
                comment: Some(comment.to_owned()),
            });
        }
    }

    /// Takes back what was set.
    pub fn unset(&mut self, path: &[&str], key: &str) {
        self.section(path).lines.retain(|line| line.key != key);
    }

    /// A comment at the end of a section.
    pub fn comment(&mut self, path: &[&str], text: String) {
        self.section(path).comments.push(text);
    }

    /// The text, and for each of its lines where it comes from.
    pub fn finish(self) -> (String, Vec<Option<Place>>) {
        let mut text = String::new();
        let mut places = Vec::new();
        let is_said =
            |s: &Section| s.place.is_some() || !(s.lines.is_empty() && s.comments.is_empty());
        for section in self.0.into_iter().filter(is_said) {
            if !text.is_empty() {
                text.push('\n');
                places.push(None);
            }
            let _ = writeln!(text, "[{}]", section.header);
            places.push(section.place);
            for line in section.lines {
                let _ = write!(text, "{} = {}", key(&line.key), line.value);
                if let Some(comment) = line.comment {
                    let _ = write!(text, "  # {comment}");
                }
                text.push('\n');
                places.push(line.place);
            }
            for comment in section.comments {
                for line in comment.lines() {
                    let _ = writeln!(text, "# {line}");
                    places.push(None);
                }
            }
        }
        (text, places)
    }
}

/// A name, quoted if it must be.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        string(name)
    }
}

/// A basic string (TOML v1.0.0, "String").
pub fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// An array of strings.
pub fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(string).collect();
    format!("[{}]", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_know_where_they_come_from() {
        let place = |line| Place {
            file: std::path::Path::new("p.ini").into(),
            line,
        };
        let mut document = Document::default();
        document.set(&["general"], "a", "1".to_owned(), Some(&place(3)));
        document.set(&["general"], "a", "2".to_owned(), Some(&place(4)));
        document.set_default(&["general"], "a", "9", "unused");
        document.set_default(&["general"], "b", "9", "by default");
        document.begin(&["pools", "*"], &place(7));
        document.set(&["pools", "*"], "host", string("x"), Some(&place(7)));
        let (text, places) = document.finish();
        assert_eq!(
            text,
            "[general]\na = 2\nb = 9  # by default\n\n[pools.\"*\"]\nhost = \"x\"\n"
        );
        let lines: Vec<_> = places.iter().map(|p| p.as_ref().map(|p| p.line)).collect();
        assert_eq!(lines, [None, Some(4), None, None, Some(7), Some(7)]);
    }

    proptest! {
        #[test]
        fn strings_are_read_as_they_were_written(text in any::<String>()) {
            let written = format!("x = {}", string(&text));
            let read = toml::de::DeTable::parse(&written).unwrap();
            prop_assert_eq!(read.get_ref()["x"].get_ref().as_str(), Some(&*text));
        }
    }
}
