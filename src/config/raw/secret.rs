//! A password in the file, or the place where it is kept instead.

use std::fmt;
use std::path::PathBuf;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

const EXPECTED: &str = "a text in quotes, { env = \"NAME\" } or { file = \"/path\" }";

/// `"text"`, `{ env = "NAME" }` or `{ file = "/path" }`. `Debug` never shows the text.
pub(in crate::config) enum SecretSource {
    Here(String),
    /// Name of an environment variable.
    Env(String),
    File(PathBuf),
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::Here(_) => f.write_str("Here(..)"),
            SecretSource::Env(name) => f.debug_tuple("Env").field(name).finish(),
            SecretSource::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SecretSource, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretSource, E> {
        Ok(SecretSource::Here(text.to_owned()))
    }

    // serde's own message would repeat a password that was written without quotes.
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretSource, E> {
        Err(E::custom(format!("a number, expected {EXPECTED}")))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretSource, E> {
        self.visit_i64(0)
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<SecretSource, E> {
        self.visit_i64(0)
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<SecretSource, E> {
        self.visit_i64(0)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretSource, E> {
        self.visit_i64(0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
        let wrong = || de::Error::custom(format!("expected {EXPECTED}"));
        let source = match map.next_entry::<String, String>()? {
            Some((key, name)) if key == "env" => SecretSource::Env(name),
            Some((key, path)) if key == "file" => SecretSource::File(path.into()),
            _ => return Err(wrong()),
        };
        match map.next_entry::<String, String>()? {
            None => Ok(source),
            Some(_) => Err(wrong()),
        }
    }
}
