//! A command in the file: a program and its arguments.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// At least one word. No shell looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Argv(pub Vec<String>);

impl<'de> Deserialize<'de> for Argv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Argv, D::Error> {
        deserializer.deserialize_any(ArgvVisitor)
    }
}

struct ArgvVisitor;

impl<'de> Visitor<'de> for ArgvVisitor {
    type Value = Argv;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a list of a program and its arguments, such as [\"/usr/bin/get-token\", \"db1\"]",
        )
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Argv, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = seq.next_element::<String>()? {
            words.push(word);
        }
        if words.first().is_none_or(String::is_empty) || words.iter().any(|w| w.contains('\0')) {
            return Err(de::Error::custom(
                "expected a program and its arguments, such as [\"/usr/bin/get-token\", \"db1\"]",
            ));
        }
        Ok(Argv(words))
    }
}
