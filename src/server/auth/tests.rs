use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::DuplexStream;

use super::*;
use crate::auth::scram_client::{ScramError, derive_keys};
use crate::server::connect::testing::{Peer, auth, error, message, plain};

const SALT: &[u8] = b"salt of the user";
const ROUNDS: u32 = 2;
const BOTH: &[u8] = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
const WITHOUT_PLUS: &[u8] = b"SCRAM-SHA-256\0\0";

type Server = Peer<DuplexStream>;

/// Lets a client with `credentials` prove itself to what `server` does, over a stream that
/// carries at most `piece` bytes at a time.
async fn prove_in_pieces<F: Future<Output = ()>>(
    piece: usize,
    credentials: &Credentials,
    binding: Option<&[u8]>,
    server: impl FnOnce(Server) -> F,
) -> Result<(), ConnectError> {
    let (ours, theirs) = tokio::io::duplex(piece);
    let keys = KeyCache::new();
    let prover = Prover {
        user: "user",
        credentials,
        binding: binding.map(<[u8]>::to_vec),
        keys: &keys,
    };
    let client = async {
        let mut wire = Wire::new(ours);
        let first = wire.read().await?;
        prover.prove(&mut wire, first).await
    };
    tokio::join!(client, server(Peer(theirs))).0
}

async fn prove<F: Future<Output = ()>>(
    credentials: &Credentials,
    server: impl FnOnce(Server) -> F,
) -> Result<(), ConnectError> {
    prove_in_pieces(4096, credentials, None, server).await
}

/// Where the fake SCRAM server misbehaves.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// AuthenticationOk instead of the server's proof.
    SkipsProof,
    WrongProof,
    OwnNonce,
    Refuses,
}

/// A server that knows the verifier of "pencil" and expects this GS2 header.
async fn scram(mut peer: Server, offer: &[u8], gs2: &str, binding: &[u8], fault: Fault) {
    let keys = derive_keys("pencil", SALT, NonZeroU32::new(ROUNDS).unwrap());
    peer.send(&auth(10, offer)).await;
    let initial = peer.password().await;
    let mechanism = match gs2 {
        "p=tls-server-end-point,," => &b"SCRAM-SHA-256-PLUS\0"[..],
        _ => b"SCRAM-SHA-256\0",
    };
    let first = initial.strip_prefix(mechanism).unwrap();
    let (length, first) = take_u32(first).unwrap();
    assert_eq!(length as usize, first.len());
    let first = std::str::from_utf8(first).unwrap();
    let bare = first.strip_prefix(gs2).unwrap();
    let nonce = match fault {
        Fault::OwnNonce => "mine",
        _ => bare.strip_prefix("n=,r=").unwrap(),
    };
    let server_first = format!("r={nonce}+server,s={},i={ROUNDS}", BASE64.encode(SALT));
    peer.send_if_open(&auth(11, server_first.as_bytes())).await;
    if fault == Fault::OwnNonce {
        return;
    }

    let client_final = String::from_utf8(peer.password().await).unwrap();
    let (without_proof, proof) = client_final.rsplit_once(",p=").unwrap();
    let channel = BASE64.encode([gs2.as_bytes(), binding].concat());
    assert_eq!(without_proof, format!("c={channel},r={nonce}+server"));
    let auth_message = format!("{bare},{server_first},{without_proof}");
    let signed = |key: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::sign(&key, auth_message.as_bytes())
    };
    let stored = digest::digest(&digest::SHA256, &keys.client_key);
    let mut client_key = BASE64.decode(proof).unwrap();
    for (k, s) in client_key.iter_mut().zip(signed(stored.as_ref()).as_ref()) {
        *k ^= s;
    }
    if client_key != keys.client_key || fault == Fault::Refuses {
        return peer.send(&error("28P01")).await;
    }
    let signature = match fault {
        Fault::WrongProof => signed(b"another key"),
        _ => signed(&keys.server_key),
    };
    let proof = format!("v={}", BASE64.encode(signature));
    if fault != Fault::SkipsProof {
        peer.send(&auth(12, proof.as_bytes())).await;
    }
    peer.send_if_open(&auth(0, b"")).await;
}

#[tokio::test]
async fn no_method_needs_no_secret() {
    for credentials in [Credentials::None, plain("x")] {
        let result = prove(&credentials, |mut peer: Server| async move {
            peer.send(&auth(0, b"")).await;
        });
        result.await.unwrap();
    }
}

#[tokio::test]
async fn cleartext() {
    let server = |mut peer: Server| async move {
        peer.send(&auth(3, b"")).await;
        assert_eq!(peer.password().await, b"pencil\0");
        peer.send(&auth(0, b"")).await;
    };
    for piece in [1, 4096] {
        let result = prove_in_pieces(piece, &plain("pencil"), None, server).await;
        result.unwrap();
    }
    let with_nul = plain("a\0b");
    let result = prove(&with_nul, |mut peer: Server| async move {
        peer.send(&auth(3, b"")).await;
        peer.closed().await;
    });
    assert!(matches!(result.await, Err(ConnectError::Parameter(_))));
}

#[tokio::test]
async fn md5_from_password_or_hash() {
    // From the definition: md5(password + user), then md5(that + salt).
    let inner = md5_hex(&[b"penciluser"]);
    let upper = format!("md5{}", inner.to_uppercase());
    for secret in ["pencil", &format!("md5{inner}"), &upper] {
        let credentials = Credentials::Secret(Secret::from(secret));
        let result = prove(&credentials, |mut peer: Server| async move {
            peer.send(&auth(5, b"\x01\x02\xff\x00")).await;
            let expected = md5_hex(&[md5_hex(&[b"penciluser"]).as_bytes(), b"\x01\x02\xff\x00"]);
            assert_eq!(peer.password().await, format!("md5{expected}\0").as_bytes());
            peer.send(&auth(0, b"")).await;
        });
        result.await.unwrap();
    }
}

#[test]
fn md5_of_a_known_text() {
    assert_eq!(md5_hex(&[b"ab", b"c"]), "900150983cd24fb0d6963f7d28e17f72");
}

#[tokio::test]
async fn scram_from_password_or_keys_in_any_pieces() {
    let keys = derive_keys("pencil", SALT, NonZeroU32::new(ROUNDS).unwrap());
    for credentials in [plain("pencil"), Credentials::ScramKeys(keys)] {
        for piece in [1, 2, 7, 4096] {
            for offer in [BOTH, WITHOUT_PLUS] {
                prove_in_pieces(piece, &credentials, None, |peer| {
                    scram(peer, offer, "n,,", b"", Fault::None)
                })
                .await
                .unwrap();
            }
        }
    }
}

#[tokio::test]
async fn scram_binds_to_the_channel_when_it_can() {
    let pencil = plain("pencil");
    let hash = Some(&b"hash"[..]);
    let result = prove_in_pieces(4096, &pencil, hash, |peer| {
        scram(peer, BOTH, "p=tls-server-end-point,,", b"hash", Fault::None)
    });
    result.await.unwrap();
    // Not offered over TLS: say that we could have.
    let result = prove_in_pieces(4096, &pencil, hash, |peer| {
        scram(peer, WITHOUT_PLUS, "y,,", b"", Fault::None)
    });
    result.await.unwrap();
}

#[tokio::test]
async fn scram_wrong_password_is_the_servers_refusal() {
    let wrong = derive_keys("pencil", b"another salt", NonZeroU32::MIN);
    for credentials in [plain("pen"), Credentials::ScramKeys(wrong)] {
        let result = prove(&credentials, |peer| {
            scram(peer, BOTH, "n,,", b"", Fault::None)
        });
        let e = result.await.unwrap_err();
        assert_eq!(e.sqlstate(), Some("28P01"));
        assert!(!e.is_transient());
    }
}

#[tokio::test]
async fn scram_server_must_prove_itself() {
    let run = |fault| async move {
        prove(&plain("pencil"), |peer| {
            scram(peer, BOTH, "n,,", b"", fault)
        })
        .await
        .unwrap_err()
    };
    assert!(matches!(
        run(Fault::SkipsProof).await,
        ConnectError::Protocol(ProtocolError::UnexpectedMessage(b'R'))
    ));
    assert!(matches!(
        run(Fault::WrongProof).await,
        ConnectError::Auth(AuthError::Scram(ScramError::WrongServerSignature))
    ));
    assert!(matches!(
        run(Fault::OwnNonce).await,
        ConnectError::Auth(AuthError::Scram(ScramError::NonceMismatch))
    ));
    assert_eq!(run(Fault::Refuses).await.sqlstate(), Some("28P01"));
}

#[tokio::test]
async fn other_mechanisms_are_named() {
    let pencil = plain("pencil");
    let result = prove(&pencil, |mut peer: Server| async move {
        peer.send(&auth(10, b"OAUTHBEARER\0X\n\0\0")).await;
        peer.closed().await;
    });
    match result.await.unwrap_err() {
        ConnectError::Auth(AuthError::UnsupportedSasl(names)) => {
            assert_eq!(names, "OAUTHBEARER, X\\n");
        }
        e => panic!("{e}"),
    }
    // Binding is the only offer, and there is nothing to bind to.
    let result = prove(&pencil, |mut peer: Server| async move {
        peer.send(&auth(10, b"SCRAM-SHA-256-PLUS\0\0")).await;
        peer.closed().await;
    });
    let e = result.await.unwrap_err();
    assert!(
        matches!(e, ConnectError::Auth(AuthError::UnsupportedSasl(_))),
        "{e}"
    );
}

#[tokio::test]
async fn the_error_says_which_secret_would_be_needed() {
    let md5 = Credentials::Secret(Secret::Md5("md5x".into()));
    let verifier = Credentials::Secret(Secret::Scram("SCRAM-SHA-256$x".into()));
    let keys = Credentials::ScramKeys(derive_keys("x", b"x", NonZeroU32::MIN));
    for (credentials, request, asked, have) in [
        (
            &Credentials::None,
            auth(3, b""),
            Method::Cleartext,
            "no secret",
        ),
        (&md5, auth(3, b""), Method::Cleartext, "md5 hash"),
        (&keys, auth(3, b""), Method::Cleartext, "keys of a client"),
        (&verifier, auth(5, b"salt"), Method::Md5, "SCRAM verifier"),
        (
            &Credentials::None,
            auth(5, b"salt"),
            Method::Md5,
            "no secret",
        ),
        (&md5, auth(10, BOTH), Method::Sasl, "md5 hash"),
        (&verifier, auth(10, BOTH), Method::Sasl, "SCRAM verifier"),
    ] {
        let result = prove(credentials, |mut peer: Server| async move {
            peer.send(&request).await;
            peer.closed().await;
        });
        let e = result.await.unwrap_err();
        assert!(e.to_string().contains(have), "{e}");
        match e {
            ConnectError::Auth(AuthError::SecretNeeded { asked: a, .. }) => assert_eq!(a, asked),
            e => panic!("{e}"),
        }
    }
}

#[tokio::test]
async fn a_second_demand_is_a_violation() {
    let pencil = plain("pencil");
    let result = prove(&pencil, |mut peer: Server| async move {
        peer.send(&auth(3, b"")).await;
        peer.password().await;
        peer.send(&auth(3, b"")).await;
        peer.closed().await;
    });
    assert!(matches!(
        result.await,
        Err(ConnectError::Protocol(ProtocolError::UnexpectedMessage(
            b'R'
        )))
    ));
}

#[tokio::test]
async fn notices_between_are_skipped() {
    let pencil = plain("pencil");
    let result = prove(&pencil, |mut peer: Server| async move {
        peer.send(&[message(b'N', b"Mhi\0\0"), auth(3, b"")].concat())
            .await;
        peer.password().await;
        peer.send(&[message(b'N', b"\0"), auth(0, b"")].concat())
            .await;
    });
    result.await.unwrap();
}

#[test]
fn credentials_hide_their_contents() {
    let keys = Credentials::ScramKeys(derive_keys("x", b"x", NonZeroU32::MIN));
    let text = format!("{:?} {:?}", plain("pencil"), keys);
    assert_eq!(text, "Secret::Plain(..) ScramKeys(..)");
}

fn challenge(salt: &str, rounds: u32) -> Challenge {
    let client = ClientFirst::new(ChannelBinding::Unsupported).unwrap();
    let message = client.message();
    let nonce = message.strip_prefix("n,,n=,r=").unwrap();
    let server_first = format!("r={nonce}x,s={},i={rounds}", BASE64.encode(salt));
    client.challenge(server_first.as_bytes()).unwrap()
}

#[tokio::test]
async fn a_storm_of_logins_derives_once() {
    let cache = Arc::new(KeyCache::new());
    let password: Arc<str> = "pencil".into();
    let slow = 300_000;
    let started = std::time::Instant::now();
    let one = derive_keys(&password, b"s", NonZeroU32::new(slow).unwrap());
    let once = started.elapsed();
    let logins: Vec<_> = (0..50)
        .map(|_| {
            let (cache, password) = (Arc::clone(&cache), Arc::clone(&password));
            tokio::spawn(async move { cache.get(&password, &challenge("s", slow)).await })
        })
        .collect();
    let started = std::time::Instant::now();
    for login in logins {
        assert!(login.await.unwrap().unwrap().client_key == one.client_key);
    }
    // Fifty derivations on any number of cores below 10 take longer than this.
    assert!(
        started.elapsed() < once * 5,
        "{:?} / {once:?}",
        started.elapsed()
    );
    assert_eq!(format!("{cache:?}"), "KeyCache { entries: 1 }");
}

#[tokio::test]
async fn keys_are_told_apart_and_bounded() {
    let cache = KeyCache::new();
    let get = async |password: &str, salt: &str, rounds| {
        let keys = cache.get(&password.into(), &challenge(salt, rounds)).await;
        keys.unwrap().client_key
    };
    let first = get("a", "salt", 1).await;
    for (password, salt, rounds) in [("b", "salt", 1), ("a", "tlas", 1), ("a", "salt", 2)] {
        assert_ne!(get(password, salt, rounds).await, first);
    }
    for n in 0..1000 {
        get("a", &n.to_string(), 1).await;
    }
    assert_eq!(format!("{cache:?}"), "KeyCache { entries: 256 }");
    assert_eq!(get("a", "salt", 1).await, first);
}

#[tokio::test]
async fn a_login_given_up_leaves_the_derivation_to_the_next() {
    let cache = KeyCache::new();
    let password: Arc<str> = "pencil".into();
    let slow = challenge("s", 200_000);
    let first = cache.get(&password, &slow);
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(1), first).await;
    assert!(given_up.is_err());
    let keys = cache.get(&password, &slow).await.unwrap();
    let expected = derive_keys("pencil", b"s", NonZeroU32::new(200_000).unwrap());
    assert!(keys.client_key == expected.client_key);
}
