//! Which cipher suites and curves TLS may use: PgBouncer's `*_tls_ciphers`, `*_tls13_ciphers` and
//! `client_tls_ecdhcurve`, as far as rustls has what they name.
//!
//! The language of cipher lists is in [`ciphers`], the names of curves in [`curves`].

use std::fmt;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite};

mod ciphers;
mod curves;

/// What of one kind may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen<T> {
    /// As it is written.
    pub text: String,
    /// The best first, at least one; `None`: all, in rustls's order.
    pub items: Option<Vec<T>>,
}

/// What of each kind may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsChoice {
    /// For TLS 1.2.
    pub ciphers: Chosen<CipherSuite>,
    pub tls13_ciphers: Chosen<CipherSuite>,
    pub ecdhcurve: Chosen<NamedGroup>,
}

impl Default for TlsChoice {
    /// PgBouncer's defaults.
    fn default() -> TlsChoice {
        fn all<T>(text: &str) -> Chosen<T> {
            Chosen {
                text: text.to_owned(),
                items: None,
            }
        }
        TlsChoice {
            ciphers: all("default"),
            tls13_ciphers: all(""),
            ecdhcurve: all("auto"),
        }
    }
}

/// Nothing can be made of a list: what is wrong, and what could be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrongList(pub String);

impl fmt::Display for WrongList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a list comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read<T> {
    pub chosen: Chosen<T>,
    /// Parts that rustls has nothing for.
    pub left_out: Vec<String>,
}

/// Reads a cipher list for TLS 1.2: one of PgBouncer's words, or OpenSSL's language
/// (openssl-ciphers(1)).
///
/// # Errors
/// It is no such list, or nothing is left of it.
pub(super) fn tls12_ciphers(text: &str) -> Result<Read<CipherSuite>, WrongList> {
    const WORDS: [&str; 9] = [
        "", "default", "secure", "compat", "legacy", "insecure", "all", "normal", "fast",
    ];
    if WORDS.contains(&&*text.trim().to_lowercase()) {
        return Ok(Read {
            chosen: chosen(text, None),
            left_out: Vec::new(),
        });
    }
    let (suites, left_out) = ciphers::evaluate(text)?;
    if suites.is_empty() {
        return Err(WrongList(format!(
            "{text:?} leaves no cipher suite for TLS 1.2; there are {}",
            joined(ciphers::TLS12.iter().map(|suite| suite.name))
        )));
    }
    Ok(Read {
        chosen: chosen(text, Some(suites)),
        left_out,
    })
}

/// Reads a list of TLS 1.3's suites by their names; an empty one is all.
///
/// # Errors
/// Nothing is left of it.
pub(super) fn tls13_ciphers(text: &str) -> Result<Read<CipherSuite>, WrongList> {
    let (mut suites, mut left_out) = (Vec::new(), Vec::new());
    for name in text.split(ciphers::SEPARATORS).filter(|n| !n.is_empty()) {
        match ciphers::TLS13.iter().find(|(known, _)| *known == name) {
            Some((_, suite)) if suites.contains(suite) => {}
            Some((_, suite)) => suites.push(*suite),
            None => left_out.push(name.to_owned()),
        }
    }
    if suites.is_empty() && !left_out.is_empty() {
        return Err(WrongList(format!(
            "{text:?} leaves no cipher suite for TLS 1.3; there are {}",
            joined(ciphers::TLS13.iter().map(|(name, _)| *name))
        )));
    }
    let suites = Some(suites).filter(|suites| !suites.is_empty());
    Ok(Read {
        chosen: chosen(text, suites),
        left_out,
    })
}

/// Reads the names of curves, or `auto`.
///
/// # Errors
/// One of them is none of rustls's; or, without TLS 1.3, all are for that only.
pub(super) fn ecdhcurve(text: &str, tls13: bool) -> Result<Chosen<NamedGroup>, WrongList> {
    Ok(chosen(text, curves::read(text, tls13)?))
}

fn joined(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

fn chosen<T>(text: &str, items: Option<Vec<T>>) -> Chosen<T> {
    Chosen {
        text: text.to_owned(),
        items,
    }
}

impl TlsChoice {
    /// rustls's own, cut down to what may be used.
    pub fn provider(&self) -> CryptoProvider {
        let mut provider = aws_lc_rs::default_provider();
        let all = std::mem::take(&mut provider.cipher_suites);
        let (tls13, tls12): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|suite| matches!(suite, SupportedCipherSuite::Tls13(_)));
        provider.cipher_suites = pick(tls13, &self.tls13_ciphers, SupportedCipherSuite::suite);
        let tls12 = pick(tls12, &self.ciphers, SupportedCipherSuite::suite);
        provider.cipher_suites.extend(tls12);
        if let Some(groups) = &self.ecdhcurve.items {
            let all = aws_lc_rs::ALL_KX_GROUPS;
            let find = |name: &NamedGroup| all.iter().find(|group| group.name() == *name);
            provider.kx_groups = groups.iter().filter_map(find).copied().collect();
        }
        provider
    }

    /// Somebody has said which suites are better than others.
    pub fn has_order(&self) -> bool {
        self.ciphers.items.is_some() || self.tls13_ciphers.items.is_some()
    }
}

/// The chosen ones, in their order.
fn pick<T: Copy, N: PartialEq>(all: Vec<T>, chosen: &Chosen<N>, name: fn(&T) -> N) -> Vec<T> {
    let Some(items) = &chosen.items else {
        return all;
    };
    let find = |item: &N| all.iter().find(|one| name(one) == *item).copied();
    items.iter().filter_map(find).collect()
}

#[cfg(test)]
mod tests;
