//! The text of a configuration file and where each key stands in it.

use toml::de::{DeTable, DeValue};

pub(super) struct Source<'t> {
    text: &'t str,
    root: DeTable<'t>,
}

/// Not TOML at all.
pub(super) struct SyntaxError {
    pub line: Option<usize>,
    pub message: String,
}

impl<'t> Source<'t> {
    pub fn parse(text: &'t str) -> Result<Source<'t>, SyntaxError> {
        match DeTable::parse(text) {
            Ok(root) => Ok(Source {
                text,
                root: root.into_inner(),
            }),
            Err(error) => Err(SyntaxError {
                line: error.span().map(|span| line_at(text, span.start)),
                message: match error.span().and_then(|span| text.get(span)) {
                    // Not a whole section, or what is left of the file.
                    Some(found) if (1..=40).contains(&found.len()) && !found.contains('\n') => {
                        format!("{}: {found}", error.message())
                    }
                    _ => error.message().to_owned(),
                },
            }),
        }
    }

    pub fn root(&self) -> &DeTable<'t> {
        &self.root
    }

    /// The line of the key, or of the innermost table around it that is written.
    pub fn line_of(&self, key: &[&str]) -> Option<usize> {
        self.walk(key)
            .last()
            .map(|offset| line_at(self.text, offset))
    }

    pub fn is_written(&self, key: &[&str]) -> bool {
        self.walk(key).count() == key.len()
    }

    /// Offsets of the parts of `key`, as far as they are written.
    fn walk(&self, key: &[&str]) -> impl Iterator<Item = usize> {
        let mut table = Some(&self.root);
        key.iter().map_while(move |part| {
            let (name, value) = table?.get_key_value(*part)?;
            table = match value.get_ref() {
                DeValue::Table(inner) => Some(inner),
                _ => None,
            };
            Some(name.span().start)
        })
    }
}

/// Counted from 1.
fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|b| **b == b'\n').count()
}
