use std::process::Command;

use proptest::prelude::*;

use super::*;

/// OpenSSL's names of what a list comes to.
fn names(text: &str) -> Vec<&'static str> {
    let suites = tls12_ciphers(text).unwrap().chosen.items.unwrap();
    let name = |suite| ciphers::TLS12.iter().find(|s| s.suite == suite);
    suites.into_iter().map(|s| name(s).unwrap().name).collect()
}

fn left_out(text: &str) -> Vec<String> {
    tls12_ciphers(text).unwrap().left_out
}

#[test]
fn words_of_pgbouncer_are_everything() {
    for text in [
        "default", "Secure", "fast", "normal", "legacy", "compat", "ALL", "insecure", "",
    ] {
        let read = tls12_ciphers(text).unwrap();
        assert_eq!((read.chosen.text.as_str(), read.chosen.items), (text, None));
    }
    let provider = TlsChoice::default().provider();
    let all = aws_lc_rs::default_provider();
    assert_eq!(provider.cipher_suites, all.cipher_suites);
    assert_eq!(provider.kx_groups.len(), all.kx_groups.len());
}

#[test]
fn what_rustls_has_not_is_left_out_and_said() {
    let text = "ECDHE-RSA-AES256-GCM-SHA384:AES128-SHA:RC4:!aNULL:!MD5:kRSA+AES:ECDHE-RSA-AES128-GCM-SHA256";
    let expected = ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"];
    assert_eq!(names(text), expected);
    assert_eq!(left_out(text), ["AES128-SHA", "RC4", "kRSA+AES"]);
    assert!(left_out("HIGH:!aNULL:-DES:+3DES").is_empty());
}

#[test]
fn nothing_is_left() {
    for text in [
        "AES128-SHA",
        "HIGH:!ALL",
        "!HIGH",
        ":",
        "ECDHE+AES128:@SECLEVEL=5",
    ] {
        let error = tls12_ciphers(text).unwrap_err().to_string();
        assert!(
            error.contains("leaves no cipher suite for TLS 1.2"),
            "{error}"
        );
        assert!(
            error.contains("there are ECDHE-ECDSA-AES256-GCM-SHA384"),
            "{error}"
        );
    }
    for text in [
        "HIGH:@WHAT",
        "HIGH:!",
        "A++B",
        "@SECLEVEL=6",
        "a%b",
        "HIGH:\u{e9}",
    ] {
        let error = tls12_ciphers(text).unwrap_err().to_string();
        assert!(error.contains("is no cipher list"), "{error}");
    }
}

#[test]
fn tls13_has_names_only() {
    let read = tls13_ciphers("TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256").unwrap();
    assert_eq!(
        read.chosen.items,
        Some(vec![CipherSuite::TLS13_AES_128_GCM_SHA256])
    );
    assert_eq!(read.left_out, ["TLS_AES_128_CCM_SHA256"]);
    assert_eq!(tls13_ciphers("").unwrap().chosen.items, None);
    let error = tls13_ciphers("TLS_AES_128_CCM_SHA256").unwrap_err();
    assert!(error.to_string().contains("TLS_CHACHA20_POLY1305_SHA256"));
}

#[test]
fn curves_by_all_their_names() {
    let read = |text| ecdhcurve(text, true).map(|chosen| chosen.items);
    assert_eq!(read("auto"), Ok(None));
    let two = vec![NamedGroup::secp256r1, NamedGroup::X25519];
    assert_eq!(read("prime256v1:P-256:x25519"), Ok(Some(two)));
    for bad in ["none", "secp521r1", "X25519:nothing", ":"] {
        assert!(read(bad).is_err(), "{bad}");
    }
    assert!(ecdhcurve("X25519MLKEM768", false).is_err());
    assert!(ecdhcurve("X25519MLKEM768:X25519", false).is_ok());
}

#[test]
fn the_provider_has_what_was_chosen_in_that_order() {
    let choice = TlsChoice {
        ciphers: tls12_ciphers("CHACHA20:ECDHE-RSA-AES128-GCM-SHA256")
            .unwrap()
            .chosen,
        tls13_ciphers: tls13_ciphers("TLS_AES_128_GCM_SHA256").unwrap().chosen,
        ecdhcurve: ecdhcurve("secp384r1:SecP256r1MLKEM768", true).unwrap(),
    };
    let provider = choice.provider();
    let suites: Vec<_> = provider.cipher_suites.iter().map(|s| s.suite()).collect();
    assert_eq!(
        suites,
        [
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ]
    );
    let groups: Vec<_> = provider.kx_groups.iter().map(|g| g.name()).collect();
    assert_eq!(
        groups,
        [NamedGroup::secp384r1, NamedGroup::secp256r1MLKEM768]
    );
}

/// Parts of lists, for the comparison.
const PARTS: [&str; 34] = [
    "ALL",
    "HIGH",
    "MEDIUM",
    "ECDHE",
    "EECDH",
    "kECDHE",
    "ECDH",
    "aRSA",
    "RSA",
    "ECDSA",
    "aECDSA",
    "AES",
    "AES128",
    "AES256",
    "AESGCM",
    "CHACHA20",
    "SHA256",
    "SHA384",
    "TLSv1.2",
    "SSLv3",
    "FIPS",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "AES128-SHA",
    "DHE",
    "aNULL",
    "ECDHE+AESGCM",
    "aRSA+AES128",
    "ECDSA+CHACHA20",
    "DEFAULT",
    "EECDH+AES256+aRSA",
    "kRSA",
    "@STRENGTH",
];

/// What `openssl ciphers` makes of a list, of the suites that there are here.
fn openssl(text: &str) -> Vec<String> {
    // A list that begins with - would be an option.
    let text = match text.strip_prefix('-') {
        Some(_) => format!(":{text}"),
        None => text.to_owned(),
    };
    let output = Command::new("openssl")
        .args(["ciphers", "-tls1_2", &text])
        .output();
    let output = output.expect("openssl: see scripts/test");
    let printed = String::from_utf8_lossy(&output.stdout);
    let known = |name: &&str| ciphers::TLS12.iter().any(|suite| suite.name == *name);
    printed
        .trim()
        .split(':')
        .filter(known)
        .map(str::to_owned)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn lists_mean_what_they_mean_to_openssl(
        parts in prop::collection::vec((prop::sample::select(vec!["", "", "", "+", "-", "!"]), prop::sample::select(PARTS.to_vec())), 1..7),
    ) {
        let part = |(action, name): (&str, &str)| match name.starts_with('@') {
            true => name.to_owned(),
            false => format!("{action}{name}"),
        };
        let text = parts.into_iter().map(part).collect::<Vec<_>>().join(":");
        let ours = ciphers::evaluate(&text).unwrap().0;
        let name = |suite: &CipherSuite| ciphers::TLS12.iter().find(|s| s.suite == *suite).unwrap().name;
        let ours: Vec<_> = ours.iter().map(name).collect();
        prop_assert_eq!(openssl(&text), ours, "{}", text);
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "[-A-Z0-9a-z:,+!@=. é]{0,40}") {
        let _ = tls12_ciphers(&text);
        let _ = tls13_ciphers(&text);
        let _ = ecdhcurve(&text, false);
    }
}
