//! Settings of TLS that are written in another way here.

use super::Converter;
use crate::pgbouncer::toml;

impl Converter {
    pub(super) fn tls(&mut self) {
        for name in ["client_tls_protocols", "server_tls_protocols"] {
            self.protocols(name);
        }
        let dhe = self.written("client_tls_dheparams");
        let dhe = dhe.is_some_and(|(value, _)| !["", "auto", "none"].contains(&value));
        if dhe {
            let why = "keys are exchanged over elliptic curves only";
            self.note(&["client_tls"], "client_tls_dheparams", why);
        }
    }

    fn protocols(&mut self, name: &'static str) {
        let Some((value, place)) = self.written(name) else {
            return;
        };
        let (value, place) = (value.to_lowercase(), place.clone());
        let section = if name.starts_with("client") {
            "client_tls"
        } else {
            "server_tls"
        };
        let mut wanted: Vec<&str> = Vec::new();
        for word in value.split([',', ':', ' ']).filter(|w| !w.is_empty()) {
            match word {
                "secure" | "all" | "legacy" => wanted.extend(["tlsv1.2", "tlsv1.3"]),
                "tlsv1" | "tlsv1.0" | "tlsv1.1" => {
                    self.note(
                        &[section],
                        &format!("{name} {word}"),
                        "rustls begins with TLS 1.2",
                    );
                }
                "tlsv1.2" => wanted.push("tlsv1.2"),
                "tlsv1.3" => wanted.push("tlsv1.3"),
                "!tlsv1.2" => wanted.retain(|w| *w != "tlsv1.2"),
                "!tlsv1.3" => wanted.retain(|w| *w != "tlsv1.3"),
                "!tlsv1.0" | "!tlsv1.1" => {}
                other => {
                    let problem = format!("invalid value {other:?} for parameter {name}");
                    return self.problem(&place, problem);
                }
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        let problem = "no protocol is left: TLS 1.2 and 1.3 can be had";
        match &wanted[..] {
            [] => self.problem(
                &place,
                format!("invalid value for parameter {name}: {problem}"),
            ),
            _ => {
                let list = toml::list(wanted.into_iter());
                self.document
                    .set(&[section], "protocols", list, Some(&place));
            }
        }
    }
}
