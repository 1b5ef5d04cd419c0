//! The curves that keys are exchanged over, by OpenSSL's names.

use rustls::NamedGroup;

use super::WrongList;

struct Curve {
    names: &'static [&'static str],
    group: NamedGroup,
    /// Not in TLS 1.2.
    tls13_only: bool,
}

const CURVES: [Curve; 5] = [
    Curve {
        names: &["X25519"],
        group: NamedGroup::X25519,
        tls13_only: false,
    },
    Curve {
        names: &["prime256v1", "secp256r1", "P-256"],
        group: NamedGroup::secp256r1,
        tls13_only: false,
    },
    Curve {
        names: &["secp384r1", "P-384"],
        group: NamedGroup::secp384r1,
        tls13_only: false,
    },
    Curve {
        names: &["X25519MLKEM768"],
        group: NamedGroup::X25519MLKEM768,
        tls13_only: true,
    },
    Curve {
        names: &["SecP256r1MLKEM768"],
        group: NamedGroup::secp256r1MLKEM768,
        tls13_only: true,
    },
];

/// The curves of a list, the best first; `None`: all. `tls13`: TLS 1.3 may be used.
///
/// # Errors
/// A name that is unknown; `none`, since keys are exchanged over curves only; or curves that
/// TLS 1.2 has not, where there is nothing else.
pub(super) fn read(text: &str, tls13: bool) -> Result<Option<Vec<NamedGroup>>, WrongList> {
    if text.is_empty() || text.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    let mut found: Vec<&Curve> = Vec::new();
    for name in text.split([':', ',', ' ']).filter(|name| !name.is_empty()) {
        let is_it = |curve: &&Curve| curve.names.iter().any(|n| n.eq_ignore_ascii_case(name));
        let Some(curve) = CURVES.iter().find(is_it) else {
            return Err(WrongList(format!(
                "{name:?} is no curve that can be had: {} or auto",
                names(|_| true)
            )));
        };
        if found.iter().all(|known| known.group != curve.group) {
            found.push(curve);
        }
    }
    if found.is_empty() {
        return Err(WrongList(format!("{text:?} names no curve")));
    }
    if !tls13 && found.iter().all(|curve| curve.tls13_only) {
        return Err(WrongList(format!(
            "{text:?} leaves no curve for TLS 1.2; there are {}",
            names(|curve| !curve.tls13_only)
        )));
    }
    Ok(Some(found.iter().map(|curve| curve.group).collect()))
}

fn names(which: fn(&Curve) -> bool) -> String {
    let all = CURVES.iter().filter(|curve| which(curve));
    let names: Vec<_> = all.flat_map(|curve| curve.names).copied().collect();
    names.join(", ")
}
