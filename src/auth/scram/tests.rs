use super::*;
use proptest::prelude::*;

/// RFC 7677, section 3.
const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const OUR_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const PLAIN: Mechanism = Mechanism::Plain {
    plus_offered: false,
};

fn verifier(password: &str) -> ScramVerifier {
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    ScramVerifier::derive(password, &salt, ITERATIONS)
}

#[test]
fn the_example_of_the_rfc() {
    let challenge = begin_with(
        verifier("pencil"),
        &PLAIN,
        CLIENT_FIRST.as_bytes(),
        OUR_NONCE,
    );
    let challenge = challenge.unwrap();
    assert_eq!(
        challenge.message(),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let (answer, keys) = challenge.verify(CLIENT_FINAL.as_bytes()).unwrap();
    assert_eq!(answer, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert_eq!(sha256(&keys.client_key), verifier("pencil").stored_key);
}

#[test]
fn a_wrong_password_and_an_unknown_user_fail_alike() {
    for verifier in [
        verifier("pen"),
        ScramVerifier::mock("user", &[7; 32], ITERATIONS),
    ] {
        let challenge = begin_with(verifier, &PLAIN, CLIENT_FIRST.as_bytes(), OUR_NONCE).unwrap();
        let error = challenge.verify(CLIENT_FINAL.as_bytes()).unwrap_err();
        assert_eq!(error, ScramError::WrongProof);
    }
    assert_eq!(
        ScramVerifier::mock("a", &[7; 32], ITERATIONS),
        ScramVerifier::mock("a", &[7; 32], ITERATIONS)
    );
    assert_ne!(
        ScramVerifier::mock("a", &[7; 32], ITERATIONS).salt,
        ScramVerifier::mock("b", &[7; 32], ITERATIONS).salt
    );
}

#[test]
fn a_downgrade_is_noticed() {
    let offered = Mechanism::Plain { plus_offered: true };
    let first = CLIENT_FIRST.replacen('n', "y", 1);
    let refused = begin_with(verifier("x"), &offered, first.as_bytes(), OUR_NONCE).unwrap_err();
    assert_eq!(refused, ScramError::ChannelBinding);
    assert!(begin_with(verifier("x"), &PLAIN, first.as_bytes(), OUR_NONCE).is_ok());
    let plus = Mechanism::Plus(b"hash".to_vec());
    assert!(begin_with(verifier("x"), &plus, CLIENT_FIRST.as_bytes(), OUR_NONCE).is_err());
}

#[test]
fn channel_binding_data_must_be_ours() {
    let first = format!("p=tls-server-end-point{}", &CLIENT_FIRST[1..]);
    let plus = Mechanism::Plus(b"hash".to_vec());
    let challenge = begin_with(verifier("pencil"), &plus, first.as_bytes(), OUR_NONCE).unwrap();
    assert_eq!(
        challenge.verify(CLIENT_FINAL.as_bytes()).unwrap_err(),
        ScramError::ChannelBinding
    );
}

#[test]
fn stored_verifiers_are_read() {
    let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    let parsed = ScramVerifier::parse(text).unwrap();
    assert_eq!(parsed, verifier("pencil"));
    assert_eq!(parsed.to_string(), text);
    assert!(parsed.fits("pencil") && !parsed.fits("Pencil"));
    for n in 0..text.len() {
        assert_eq!(ScramVerifier::parse(&text[..n]), None);
    }
}

proptest! {
    #[test]
    fn any_message_is_survived(first in ".{0,80}", last in ".{0,80}") {
        let _ = begin_with(verifier("x"), &PLAIN, first.as_bytes(), OUR_NONCE);
        let challenge = begin_with(verifier("x"), &PLAIN, CLIENT_FIRST.as_bytes(), OUR_NONCE).unwrap();
        prop_assert!(challenge.verify(last.as_bytes()).is_err());
    }
}
