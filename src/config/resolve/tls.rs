//! `[client_tls]` and `[server_tls]`, which a pool may override.

use super::{Resolver, raw, set, set_path};
use crate::config::error::dotted;
use crate::config::tls::{self, TlsChoice, WrongList};
use crate::config::units::List;
use crate::config::{ClientTls, ServerTls, TlsProtocols};

impl Resolver<'_, '_> {
    pub(super) fn client_tls(&mut self, tls: &mut ClientTls, raw: raw::ClientTls) {
        let section = ["client_tls"];
        self.protocols(&section, &mut tls.protocols, raw.protocols);
        self.ciphers(&section, &mut tls.choice, raw.ciphers, raw.tls13_ciphers);
        if let Some(text) = raw.ecdhcurve {
            let read = tls::ecdhcurve(&text, tls.protocols.tls13);
            if let Some(chosen) = self.or_problem(&section, "ecdhcurve", read) {
                tls.choice.ecdhcurve = chosen;
            }
        }
        set(&mut tls.mode, raw.sslmode);
        set_path(&mut tls.key_file, raw.key_file);
        set_path(&mut tls.cert_file, raw.cert_file);
        set_path(&mut tls.ca_file, raw.ca_file);
    }

    pub(super) fn server_tls(
        &mut self,
        section: &[&str],
        tls: &mut ServerTls,
        raw: raw::ServerTls,
    ) {
        self.protocols(section, &mut tls.protocols, raw.protocols);
        self.ciphers(section, &mut tls.choice, raw.ciphers, raw.tls13_ciphers);
        set(&mut tls.mode, raw.sslmode);
        set_path(&mut tls.ca_file, raw.ca_file);
        set_path(&mut tls.key_file, raw.key_file);
        set_path(&mut tls.cert_file, raw.cert_file);
    }

    fn protocols(&mut self, section: &[&str], slot: &mut TlsProtocols, names: Option<List>) {
        let Some(List(names)) = names else { return };
        let has = |name: &str| names.iter().any(|n| n == name);
        let known = names.iter().all(|n| n == "tlsv1.2" || n == "tlsv1.3");
        if names.is_empty() || !known {
            self.problems.add(
                &[section, &["protocols"]].concat(),
                "must be a list of \"tlsv1.2\", \"tlsv1.3\" or both",
            );
        }
        *slot = TlsProtocols {
            tls12: has("tlsv1.2"),
            tls13: has("tlsv1.3"),
        };
    }

    fn ciphers(
        &mut self,
        section: &[&str],
        choice: &mut TlsChoice,
        ciphers: Option<String>,
        tls13_ciphers: Option<String>,
    ) {
        let lists = [
            (
                "ciphers",
                ciphers.map(|text| tls::tls12_ciphers(&text)),
                &mut choice.ciphers,
            ),
            (
                "tls13_ciphers",
                tls13_ciphers.map(|text| tls::tls13_ciphers(&text)),
                &mut choice.tls13_ciphers,
            ),
        ];
        for (key, read, slot) in lists {
            let read = read.and_then(|read| self.or_problem(section, key, read));
            let Some(read) = read else { continue };
            *slot = read.chosen;
            if !read.left_out.is_empty() {
                self.oddities.push(format!(
                    "{}: rustls has nothing that is called {}",
                    dotted(&[section, &[key]].concat()),
                    read.left_out.join(", ")
                ));
            }
        }
    }

    fn or_problem<T>(
        &mut self,
        section: &[&str],
        key: &str,
        read: Result<T, WrongList>,
    ) -> Option<T> {
        let add = |error: WrongList| {
            self.problems
                .add(&[section, &[key]].concat(), error.to_string());
        };
        read.map_err(add).ok()
    }
}
