use proptest::prelude::*;

use super::*;

const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

fn first() -> ClientFirst {
    ClientFirst::with(ChannelBinding::Unsupported, "", NONCE.into())
}

fn challenge(server_first: &str) -> Result<Challenge, ScramError> {
    first().challenge(server_first.as_bytes())
}

/// The example of RFC 7677 section 3: user "user", password "pencil".
fn rfc7677() -> (String, AwaitProof) {
    let challenge = ClientFirst::with(ChannelBinding::Unsupported, "user", NONCE.into())
        .challenge(SERVER_FIRST.as_bytes())
        .unwrap();
    let keys = derive_keys("pencil", challenge.salt(), challenge.iterations());
    challenge.respond(&keys)
}

#[test]
fn rfc7677_vector() {
    let (client_final, await_proof) = rfc7677();
    assert_eq!(
        client_final,
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    await_proof
        .verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        .unwrap();
}

#[test]
fn a_wrong_server_signature_is_refused() {
    for (message, error) in [
        (
            "v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ScramError::WrongServerSignature,
        ),
        ("v=", ScramError::WrongServerSignature),
        ("v=6rri", ScramError::WrongServerSignature),
        (
            "v=*",
            ScramError::Malformed("server signature is not base64"),
        ),
        ("", ScramError::Malformed("server signature expected")),
        (
            "e=other-error",
            ScramError::ServerError("other-error".into()),
        ),
    ] {
        assert_eq!(
            rfc7677().1.verify(message.as_bytes()),
            Err(error),
            "{message}"
        );
    }
}

#[test]
fn first_message_says_what_binding_is_used() {
    let message = |binding| ClientFirst::with(binding, "", "N".into()).message();
    assert_eq!(message(ChannelBinding::Unsupported), "n,,n=,r=N");
    assert_eq!(message(ChannelBinding::NotOffered), "y,,n=,r=N");
    let plus = ChannelBinding::TlsServerEndPoint(vec![1, 2, 3]);
    assert_eq!(plus.mechanism(), "SCRAM-SHA-256-PLUS");
    assert_eq!(message(plus), "p=tls-server-end-point,,n=,r=N");
}

#[test]
fn final_message_repeats_the_binding() {
    let respond = |binding| {
        ClientFirst::with(binding, "", "N".into())
            .challenge(b"r=NS,s=AAAA,i=1")
            .unwrap()
            .respond(&derive_keys("x", b"\0\0\0", NonZeroU32::MIN))
            .0
    };
    assert!(respond(ChannelBinding::Unsupported).starts_with("c=biws,r=NS,p="));
    assert!(respond(ChannelBinding::NotOffered).starts_with("c=eSws,r=NS,p="));
    let plus = respond(ChannelBinding::TlsServerEndPoint(b"hash".to_vec()));
    let expected = BASE64.encode("p=tls-server-end-point,,hash");
    assert!(plus.starts_with(&format!("c={expected},r=NS,p=")), "{plus}");
}

#[test]
fn two_nonces_differ() {
    let nonce = || ClientFirst::new(ChannelBinding::Unsupported).unwrap().nonce;
    assert_eq!(nonce().len(), 24);
    assert_ne!(nonce(), nonce());
}

#[test]
fn bad_challenges_are_refused() {
    let malformed = ScramError::Malformed;
    let n = NONCE;
    for (message, error) in [
        (String::new(), malformed("nonce expected")),
        (format!("r={n}x"), malformed("salt expected")),
        (
            format!("r={n}x,s=AAAA"),
            malformed("iteration count expected"),
        ),
        ("r=other,s=AAAA,i=1".into(), ScramError::NonceMismatch),
        (
            format!("r={n},s=AAAA,i=1"),
            malformed("the server added nothing to the nonce"),
        ),
        (format!("r={n}x,s=A,i=1"), malformed("salt is not base64")),
        (
            format!("r={n}x,s=,i=1"),
            malformed("salt of unreasonable length"),
        ),
        (
            format!("r={n}x,s={},i=1", "AAAA".repeat(500)),
            malformed("salt of unreasonable length"),
        ),
        (format!("r={n}x,s=AAAA,i=0"), ScramError::Iterations(0)),
        (
            format!("r={n}x,s=AAAA,i=1000001"),
            ScramError::Iterations(1_000_001),
        ),
        (
            format!("r={n}x,s=AAAA,i=4294967297"),
            ScramError::Iterations(4_294_967_297),
        ),
        (
            format!("r={n}x,s=AAAA,i=99999999999999999999999"),
            ScramError::Iterations(u64::MAX),
        ),
        (
            format!("r={n}x,s=AAAA,i=+1"),
            malformed("iteration count is not a number"),
        ),
        (
            format!("r={n}{},s=AAAA,i=1", "x".repeat(MAX_NONCE)),
            malformed("nonce too long"),
        ),
        (
            format!("r={n}x,s=AAAA,i=1,{}", "z".repeat(MAX_MESSAGE)),
            ScramError::TooLong,
        ),
        (
            format!("r={n}\n,s=AAAA,i=1"),
            malformed("control character"),
        ),
        (
            format!("m=ext,r={n}x,s=AAAA,i=1"),
            malformed("nonce expected"),
        ),
    ] {
        assert_eq!(challenge(&message).unwrap_err(), error, "{message}");
    }
    assert_eq!(
        first().challenge(&[0xff]).unwrap_err(),
        malformed("not UTF-8")
    );
}

#[test]
fn extensions_after_the_iteration_count_are_ignored() {
    let challenge = challenge(&format!("r={NONCE}x,s=AAAA,i=1000000,q=1")).unwrap();
    assert_eq!(challenge.iterations().get(), MAX_ITERATIONS);
    assert_eq!(challenge.salt(), [0, 0, 0]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        // Neither may be accepted: random bytes cannot continue our nonce or carry our signature.
        prop_assert!(first().challenge(&bytes).is_err());
        let await_proof = AwaitProof { server_signature: [7; 32] };
        prop_assert!(await_proof.verify(&bytes).is_err());
    }

    #[test]
    fn the_proof_recovers_the_client_key(password in "\\PC{0,20}", rounds in 1u32..4) {
        // What a server does: ClientKey = proof XOR HMAC(StoredKey, AuthMessage), and its hash
        // must be StoredKey.
        let rounds = NonZeroU32::new(rounds).unwrap();
        let keys = derive_keys(&password, b"salt", rounds);
        let challenge = challenge(&format!("r={NONCE}srv,s=c2FsdA==,i={rounds}")).unwrap();
        let auth_message = challenge.auth_message.clone();
        let (message, await_proof) = challenge.respond(&keys);
        let proof = BASE64.decode(message.rsplit_once("p=").unwrap().1).unwrap();
        let stored = digest::digest(&digest::SHA256, &keys.client_key);
        let signature = hmac_sha256(stored.as_ref(), auth_message.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(p, s)| p ^ s).collect();
        prop_assert_eq!(&client_key[..], &keys.client_key[..]);
        let server = BASE64.encode(hmac_sha256(&keys.server_key, auth_message.as_bytes()));
        prop_assert_eq!(await_proof.verify(format!("v={server}").as_bytes()), Ok(()));
    }
}
