//! `SHOW CONFIG`: PgBouncer's settings under their names, and then our own.

use std::collections::BTreeMap;

use super::{Table, columns, s};
use crate::admin::console::Console;
use crate::config::Setting;
use crate::pgbouncer::settings::{Meaning, SETTINGS};

pub(super) fn config(console: &Console) -> Table {
    let config = console.config();
    let mut ours: Vec<Setting> = config.settings();
    let by_key: BTreeMap<String, Setting> =
        ours.iter().map(|s| (s.key.clone(), s.clone())).collect();
    let written = config.pgbouncer.as_deref().unwrap_or_default();
    let mut rows = Vec::new();
    for setting in SETTINGS {
        // What it is called among ours.
        let same = match setting.meaning {
            Meaning::Key("general", key) | Meaning::Unless("general", key) => key.to_owned(),
            Meaning::Key(section, key) | Meaning::Unless(section, key) => {
                format!("{section}_{key}")
            }
            _ => setting.name.to_owned(),
        };
        let written = written.iter().find(|(name, _)| *name == setting.name);
        let value = match (by_key.get(&same), written) {
            (Some(same), _) => same.value.clone(),
            (None, Some((_, value))) => value.clone(),
            (None, None) if setting.name == "conffile" => config.path.display().to_string(),
            (None, None) => setting.default.to_owned(),
        };
        let changeable = by_key
            .get(&same)
            .map_or(setting.changeable, |same| same.changeable);
        // With a TOML file, what is not written has our default.
        let default = by_key.get(&same).filter(|_| config.pgbouncer.is_none());
        let default = default.map_or(setting.default, |same| &same.default);
        rows.push(row(setting.name, &value, default, changeable));
        ours.retain(|s| s.key != same);
    }
    let ours = ours.iter();
    rows.extend(ours.map(|s| row(&s.key, &s.value, &s.default, s.changeable)));
    Table {
        columns: columns(&[
            ("key", 's'),
            ("value", 's'),
            ("default", 's'),
            ("changeable", 's'),
        ]),
        rows,
    }
}

fn row(key: &str, value: &str, default: &str, changeable: bool) -> Vec<Option<String>> {
    let changeable = if changeable { "yes" } else { "no" };
    vec![s(key), s(value), s(default), s(changeable)]
}
