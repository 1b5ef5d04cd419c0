//! From the name of an ini file to a configuration; errors are told with the places of the ini.

use std::path::Path;

use super::convert::{Converted, convert};
use super::ini::{self, IniError};
use crate::config::{Config, ConfigError, Outside};

/// Reads an ini file and what it includes.
///
/// # Errors
/// What is wrong with it; all of it is in the first.
pub fn load(path: &Path, outside: &dyn Outside) -> Result<Config, ConfigError> {
    let text = outside.read(path).map_err(|error| {
        let problem = format!("cannot read the configuration file: {error}");
        ConfigError::new(path, None, String::new(), &problem)
    })?;
    parse(&text, path, outside)
}

/// The same of a text.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, path: &Path, outside: &dyn Outside) -> Result<Config, ConfigError> {
    let converted = converted(text, path, outside)?;
    let mut config = Config::parse_with(&converted.toml, path, outside)
        .map_err(|error| relocate(error, &converted))?;
    config.oddities.extend(converted.notes);
    config.pgbouncer = Some(converted.written.into());
    Ok(config)
}

/// The TOML that says the same.
///
/// # Errors
/// As [`load`].
pub fn converted(text: &str, path: &Path, outside: &dyn Outside) -> Result<Converted, ConfigError> {
    let read = |path: &Path| outside.read(path);
    let items = ini::parse(text, path, &read).map_err(|error| all(vec![error]))?;
    convert(&items).map_err(all)
}

fn error(error: &IniError) -> ConfigError {
    let line = Some(error.place.line);
    ConfigError::new(&error.place.file, line, String::new(), &error.problem)
}

/// `errors` has at least one.
fn all(errors: Vec<IniError>) -> ConfigError {
    let mut each = errors.iter().map(error);
    let first = each.next();
    let mut first = first
        .unwrap_or_else(|| ConfigError::new(Path::new(""), None, String::new(), "cannot be read"));
    first.others = each.collect();
    first
}

/// What is wrong with the TOML is wrong with the ini's line that it was made of.
fn relocate(mut error: ConfigError, converted: &Converted) -> ConfigError {
    let others = std::mem::take(&mut error.others);
    let place = error
        .line
        .and_then(|line| converted.places.get(line - 1))
        .and_then(Option::as_ref);
    match place {
        Some(place) => {
            error.path = place.file.to_path_buf();
            error.line = Some(place.line);
        }
        None => error.line = None,
    }
    error.others = others.into_iter().map(|e| relocate(e, converted)).collect();
    error
}
