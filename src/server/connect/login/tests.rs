use proptest::prelude::*;
use tokio::io::DuplexStream;

use super::*;
use crate::server::auth::Credentials;
use crate::server::connect::AuthError;
use crate::server::connect::testing::{Peer, auth, error, message, settled, welcome};
use crate::server::connect::wire::MAX_BODY;

fn request(credentials: &Credentials) -> LoginRequest<'_> {
    LoginRequest {
        user: "u",
        database: "d",
        application_name: None,
        replication: Default::default(),
        parameters: &[],
        credentials,
        protocol_minor: 0,
    }
}

/// Logs in to a server that sends `answer`, in pieces of `piece` bytes, and then hangs up.
async fn answered(
    answer: &[u8],
    piece: usize,
    request: &LoginRequest<'_>,
) -> Result<(Session, BytesMut), ConnectError> {
    let (ours, theirs) = tokio::io::duplex(piece);
    let answer = answer.to_vec();
    let server = async move {
        let mut peer = Peer(theirs);
        peer.startup().await;
        peer.send_if_open(&answer).await;
    };
    let client = async {
        let mut wire = Wire::<DuplexStream>::new(ours);
        let session = login(&mut wire, request, None, &KeyCache::new()).await?;
        Ok((session, wire.into_parts().1))
    };
    let ((), result) = tokio::join!(server, client);
    result
}

async fn failure(answer: &[u8]) -> ConnectError {
    let credentials = Credentials::None;
    answered(answer, 64, &request(&credentials))
        .await
        .unwrap_err()
}

/// The bytes of the StartupMessage, or the name that it is refused for.
fn startup(
    parameters: &[(&str, &str)],
    change: impl FnOnce(&mut LoginRequest<'_>),
) -> Result<Vec<u8>, String> {
    let own = |(n, v): &(&str, &str)| ((*n).to_owned(), (*v).to_owned());
    let parameters: Vec<_> = parameters.iter().map(own).collect();
    let mut request = LoginRequest {
        parameters: &parameters,
        ..request(&Credentials::None)
    };
    change(&mut request);
    match startup_message(&request) {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(ConnectError::Parameter(name)) => Err(name),
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn startup_message_bytes() {
    assert_eq!(
        startup(&[], |_| {}).unwrap(),
        b"\0\0\0\x1b\0\x03\0\0user\0u\0database\0d\0\0"
    );
    let bytes = startup(&[("options", "-c a=b")], |r| {
        r.application_name = Some("app");
        r.protocol_minor = 2;
    });
    assert_eq!(
        bytes.unwrap(),
        b"\0\0\0\x3f\0\x03\0\x02user\0u\0database\0d\0application_name\0app\0options\0-c a=b\0\0"
    );
}

#[test]
fn startup_message_cannot_be_stretched() {
    for (refused, name, value) in [
        ("", "", "x"),
        ("user", "user", "postgres"),
        ("database", "database", "x"),
        ("replication", "replication", "database"),
        ("a\\0user", "a\0user", "x"),
        ("a", "a", "x\0user\0postgres"),
    ] {
        assert_eq!(startup(&[(name, value)], |_| {}), Err(refused.to_owned()));
    }
    assert_eq!(startup(&[], |r| r.user = "u\0x"), Err("user".into()));
    assert_eq!(startup(&[], |r| r.database = "\0"), Err("database".into()));

    let rest = startup(&[("options", "")], |_| {}).unwrap().len();
    let long = |n: usize| startup(&[("options", &"x".repeat(n))], |_| {});
    let longest = MAX_STARTUP - rest;
    assert_eq!(long(longest).map(|b| b.len()), Ok(MAX_STARTUP));
    assert_eq!(long(longest + 1), Err("options".into()));
}

#[tokio::test]
async fn everything_is_collected_however_it_is_split() {
    let credentials = Credentials::None;
    let answer = [welcome(), message(b'S', b"late\0x\0")].concat();
    for piece in 1..answer.len() {
        let (session, read_ahead) = answered(&answer, piece, &request(&credentials))
            .await
            .unwrap();
        let parameters = [("server_version", "15.0"), ("TimeZone", "UTC")];
        let parameters = parameters.map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(session.parameters, parameters);
        assert_eq!(session.backend_pid, 0x102);
        assert_eq!(session.cancel_key, [9, 8, 7, 6]);
        assert_eq!(session.protocol_minor, 0);
        // What came in the same read as ReadyForQuery is not lost.
        assert!(message(b'S', b"late\0x\0").starts_with(&read_ahead));
    }
    let whole = answered(&answer, 4096, &request(&credentials)).await;
    assert_eq!(whole.unwrap().1, message(b'S', b"late\0x\0"));
}

#[tokio::test]
async fn hanging_up_at_any_byte_is_a_lost_connection() {
    let answer = welcome();
    for end in 0..answer.len() {
        let e = failure(&answer[..end]).await;
        assert!(matches!(e, ConnectError::Lost(_)), "{end}: {e}");
        assert!(e.is_transient());
    }
}

#[tokio::test]
async fn an_error_at_any_step_is_the_servers_refusal() {
    let before_ready = [auth(0, b""), message(b'S', b"a\0b\0")].concat();
    for step in [&b""[..], &auth(0, b""), &before_ready] {
        let e = failure(&[step, &error("57P03")].concat()).await;
        assert_eq!(e.sqlstate(), Some("57P03"));
        assert!(e.is_transient());
    }
}

#[tokio::test]
async fn errors_without_sqlstate_or_without_end_are_survived() {
    for body in [
        &b""[..],
        b"\0",
        b"SFATAL",
        b"SFATAL\0Mx",
        b"Mno code\0\0",
        b"Cbad\0\0",
    ] {
        let e = failure(&message(b'E', body)).await;
        let ConnectError::Server(e) = e else {
            panic!("{e}")
        };
        assert_eq!(e.code, "", "{body:?}");
        assert_eq!(e.raw.last(), Some(&0));
    }
}

#[tokio::test]
async fn what_no_server_sends_is_a_violation() {
    let after_ok = |m: Vec<u8>| [auth(0, b""), m].concat();
    let malformed = ProtocolError::Malformed;
    let unexpected = ProtocolError::UnexpectedMessage;
    for (answer, expected) in [
        (message(b'Z', b"I"), unexpected(b'Z')),
        (message(b'S', b"a\0b\0"), unexpected(b'S')),
        (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), {
            ProtocolError::MessageLength(u32::from_be_bytes(*b"TTP/"))
        }),
        (vec![b'R', 0, 0, 0, 3, 0], ProtocolError::MessageLength(3)),
        (
            [&b"R"[..], &u32::MAX.to_be_bytes()].concat(),
            ProtocolError::MessageLength(u32::MAX),
        ),
        (message(b'R', b""), malformed("Authentication")),
        (message(b'R', b"\0\0"), malformed("Authentication")),
        (auth(5, b"abc"), malformed("Authentication")),
        (auth(10, b"SCRAM-SHA-256"), malformed("Authentication")),
        (auth(11, b"r=x"), unexpected(b'R')),
        (auth(12, b"v=x"), unexpected(b'R')),
        (after_ok(auth(0, b"")), unexpected(b'R')),
        (after_ok(message(b'A', b"")), unexpected(b'A')),
        (after_ok(message(b'Z', b"")), malformed("ReadyForQuery")),
        (after_ok(message(b'Z', b"T")), malformed("ReadyForQuery")),
        (
            after_ok(message(b'S', b"a\0")),
            malformed("ParameterStatus"),
        ),
        (
            after_ok(message(b'S', b"a\0b\0c")),
            malformed("ParameterStatus"),
        ),
        (after_ok(message(b'K', b"abc")), malformed("BackendKeyData")),
        (
            after_ok(message(b'K', &[0; 4 + 32])),
            malformed("BackendKeyData"),
        ),
    ] {
        match failure(&answer).await {
            ConnectError::Protocol(e) => assert_eq!(e, expected),
            e => panic!("{e} instead of {expected}"),
        }
    }
}

#[tokio::test]
async fn unsupported_methods_are_named() {
    for (code, name) in [(2, "Kerberos V5"), (7, "gss"), (9, "sspi"), (99, "99")] {
        match failure(&auth(code, b"")).await {
            ConnectError::Auth(AuthError::Unsupported(method)) => {
                assert!(method.to_string().contains(name));
            }
            e => panic!("{e}"),
        }
    }
}

#[tokio::test]
async fn memory_is_bounded() {
    let chatter = message(b'S', &[b'x'; MAX_BODY]);
    let e = failure(&chatter).await;
    assert!(
        matches!(
            e,
            ConnectError::Protocol(ProtocolError::UnexpectedMessage(b'S'))
        ),
        "{e}"
    );
    let too_long = message(b'R', &[b'x'; MAX_BODY + 1]);
    let e = failure(&too_long).await;
    assert!(
        matches!(e, ConnectError::Protocol(ProtocolError::MessageLength(_))),
        "{e}"
    );
    // Notices are skipped, yet they count.
    let notices = message(b'N', &[0; MAX_BODY]).repeat(17);
    let e = failure(&notices).await;
    assert!(
        matches!(e, ConnectError::Protocol(ProtocolError::TooMuch(_))),
        "{e}"
    );
}

#[tokio::test]
async fn protocol_3_2_is_negotiated() {
    let credentials = Credentials::None;
    let version = |version: u32, options: &[&str]| {
        let mut body = version.to_be_bytes().to_vec();
        body.extend(u32::try_from(options.len()).unwrap().to_be_bytes());
        for option in options {
            body.extend_from_slice(option.as_bytes());
            body.push(0);
        }
        message(b'v', &body)
    };
    let long_key = |n: usize| {
        let key = message(b'K', &vec![7; 4 + n]);
        [auth(0, b""), key, message(b'Z', b"I")].concat()
    };
    let login = |minor, answer: Vec<u8>| {
        let mut request = request(&credentials);
        request.protocol_minor = minor;
        async move { answered(&answer, 4096, &request).await.map(|(s, _)| s) }
    };
    let session = login(2, long_key(256)).await.unwrap();
    assert_eq!((session.protocol_minor, session.cancel_key.len()), (2, 256));
    assert!(login(2, long_key(257)).await.is_err());
    assert!(login(2, long_key(3)).await.is_err());
    assert!(login(0, long_key(32)).await.is_err());

    for agreed in [version(0x3_0000, &[]), version(0, &["_pq_.x"])] {
        let session = login(2, [agreed, welcome()].concat()).await.unwrap();
        assert_eq!(session.protocol_minor, 0);
    }
    for (asked, newer) in [(0, version(0x3_0002, &[])), (2, version(3, &[]))] {
        let e = login(asked, [newer, welcome()].concat()).await.unwrap_err();
        assert!(
            matches!(e, ConnectError::Protocol(ProtocolError::Version(_))),
            "{e}"
        );
    }
    let mut lying = version(0x3_0000, &["_pq_.x"]);
    lying[12] = 200; // as many options, none there
    for bad in [lying, version(0x2_0000, &[]), message(b'v', b"abc")] {
        let e = login(2, [bad, settled()].concat()).await.unwrap_err();
        assert!(
            matches!(e, ConnectError::Protocol(ProtocolError::Malformed(_))),
            "{e}"
        );
    }
}

#[tokio::test]
async fn a_server_without_cancel_keys_is_served() {
    let credentials = Credentials::None;
    let answer = [auth(0, b""), message(b'Z', b"I")].concat();
    let (session, _) = answered(&answer, 64, &request(&credentials)).await.unwrap();
    assert_eq!((session.backend_pid, session.cancel_key.len()), (0, 0));
}

proptest! {
    #[test]
    fn garbage_is_refused_without_panic(
        garbage in proptest::collection::vec(any::<u8>(), 0..300),
        after_ok in any::<bool>(),
        tag in proptest::sample::select(b"RSKEZNv".to_vec()),
        framed in any::<bool>(),
    ) {
        let mut answer = if after_ok { auth(0, b"") } else { Vec::new() };
        answer.extend(if framed { message(tag, &garbage) } else { garbage });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let credentials = Credentials::None;
        let mut request = request(&credentials);
        request.protocol_minor = 2;
        // "Z I" after AuthenticationOk would be a login; 300 random bytes hardly say that.
        prop_assert!(runtime.block_on(answered(&answer, 4096, &request)).is_err());
    }
}
