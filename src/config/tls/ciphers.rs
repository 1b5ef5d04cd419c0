//! OpenSSL's language of cipher lists (openssl-ciphers(1), "CIPHER LIST FORMAT"), evaluated over the
//! suites of TLS 1.2 that rustls has.

use rustls::CipherSuite;

use super::WrongList;

/// A suite of TLS 1.2.
#[derive(Debug)]
pub(super) struct Suite {
    /// OpenSSL's name.
    pub name: &'static str,
    pub suite: CipherSuite,
    /// Of the key that encrypts.
    bits: u32,
    /// OpenSSL's words that it falls under, beside those of all.
    words: &'static [&'static str],
}

/// Words that every one of them falls under.
const COMMON: [&str; 8] = [
    "ALL", "HIGH", "TLSv1.2", "ECDH", "ECDHE", "EECDH", "kECDHE", "kEECDH",
];

/// In OpenSSL's order.
pub(super) static TLS12: [Suite; 6] = [
    Suite {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        bits: 256,
        words: &["aECDSA", "ECDSA", "AES", "AES256", "AESGCM", "FIPS"],
    },
    Suite {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        bits: 256,
        words: &["aRSA", "AES", "AES256", "AESGCM", "FIPS"],
    },
    Suite {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        bits: 256,
        words: &["aECDSA", "ECDSA", "CHACHA20"],
    },
    Suite {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        bits: 256,
        words: &["aRSA", "CHACHA20"],
    },
    Suite {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        bits: 128,
        words: &["aECDSA", "ECDSA", "AES", "AES128", "AESGCM", "FIPS"],
    },
    Suite {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        bits: 128,
        words: &["aRSA", "AES", "AES128", "AESGCM", "FIPS"],
    },
];

pub(super) const TLS13: [(&str, CipherSuite); 3] = [
    (
        "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_AES_256_GCM_SHA384,
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_128_GCM_SHA256,
    ),
];

/// Between the parts of a list.
pub(super) const SEPARATORS: [char; 5] = [':', ',', ';', ' ', '\t'];

/// Bits of security that `@SECLEVEL=N` asks for (SSL_CTX_set_security_level(3)).
const LEVELS: [u32; 6] = [0, 80, 112, 128, 192, 256];

impl Suite {
    fn is_called(&self, word: &str) -> bool {
        word == self.name || self.words.contains(&word) || COMMON.contains(&word)
    }
}

/// The suites of a list, the best first, and the parts that mean none of them.
///
/// # Errors
/// It is no such list.
pub(super) fn evaluate(text: &str) -> Result<(Vec<CipherSuite>, Vec<String>), WrongList> {
    let mut list = List::new();
    let mut left_out = Vec::new();
    let mut level = 0;
    let parts = text.split(SEPARATORS).filter(|part| !part.is_empty());
    for (n, part) in parts.enumerate() {
        if let Some(command) = part.strip_prefix('@') {
            match command.strip_prefix("SECLEVEL=").map(str::parse) {
                Some(Ok(wanted)) if wanted < LEVELS.len() => level = wanted,
                None if command == "STRENGTH" => list.sort_by_strength(),
                _ => return Err(wrong(text, part)),
            }
            continue;
        }
        let (action, words) = match part.split_at_checked(1) {
            Some(("!", words)) => (Action::Kill, words),
            Some(("-", words)) => (Action::Delete, words),
            Some(("+", words)) => (Action::Order, words),
            _ => (Action::Add, part),
        };
        if !is_words(words) {
            return Err(wrong(text, part));
        }
        // It has a meaning at the beginning only.
        let words = if n == 0 && part == "DEFAULT" {
            "ALL"
        } else {
            words
        };
        let found = list.apply(action, |suite| words.split('+').all(|w| suite.is_called(w)));
        if action == Action::Add && !found {
            left_out.push(part.to_owned());
        }
    }
    let enough = |suite: &Suite| suite.bits >= LEVELS[level];
    let suites = list.active().filter(|suite| enough(suite));
    Ok((suites.map(|suite| suite.suite).collect(), left_out))
}

fn wrong(text: &str, part: &str) -> WrongList {
    WrongList(format!(
        "{text:?} is no cipher list: {part:?} is no name, !, - or + and a name, @STRENGTH or \
         @SECLEVEL=0 to 5"
    ))
}

fn is_words(words: &str) -> bool {
    let is_word = |word: &str| {
        let mut bytes = word.bytes();
        !word.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    words.split('+').all(is_word)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Add,
    /// To the end, those that are in.
    Order,
    /// Out; may be added again.
    Delete,
    /// Out for ever.
    Kill,
}

/// OpenSSL keeps all suites in one list, active or not, and moves them about in it; their order in
/// the end depends on that.
struct List(Vec<(&'static Suite, bool)>);

impl List {
    fn new() -> List {
        List(TLS12.iter().map(|suite| (suite, false)).collect())
    }

    fn active(&self) -> impl Iterator<Item = &'static Suite> {
        self.0.iter().filter(|(_, on)| *on).map(|(suite, _)| *suite)
    }

    /// Says whether there is such a suite, killed or not.
    fn apply(&mut self, action: Action, is_meant: impl Fn(&Suite) -> bool) -> bool {
        let found = TLS12.iter().any(&is_meant);
        let all = std::mem::take(&mut self.0);
        let moves = |(suite, on): &(&'static Suite, bool)| {
            is_meant(suite) && (action == Action::Kill || *on != (action == Action::Add))
        };
        let (moved, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(moves);
        let active = action != Action::Delete;
        let moved = moved.into_iter().map(|(suite, _)| (suite, active));
        self.0 = match action {
            Action::Kill => rest,
            Action::Delete => moved.chain(rest).collect(),
            Action::Add | Action::Order => rest.into_iter().chain(moved).collect(),
        };
        found
    }

    fn sort_by_strength(&mut self) {
        for bits in [256, 128] {
            self.apply(Action::Order, |suite| suite.bits == bits);
        }
    }
}
