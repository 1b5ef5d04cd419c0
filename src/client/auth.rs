//! Finding out whether a client is who it says (PostgreSQL docs, "Start-up", "SASL
//! Authentication").
//!
//! An unknown user and a wrong password take the same path and the same work, and end in the same
//! words.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::auth::md5;
use crate::auth::scram::{self, Mechanism, ScramError, ScramKeys, ScramVerifier};
use crate::auth::secret::Secret;
use crate::client::elsewhere::{Judge, Turns};
use crate::client::hashing::Hashing;
use crate::config::AuthType;
use crate::net::stream::Stream;
use crate::protocol::frame::{self, HEADER};
use crate::protocol::frontend;

/// Longest password message accepted, in bytes: a password of 65,530 bytes fits.
const PASSWORD_MAX: usize = 65_536;

/// Who is to be checked, and against what.
#[derive(Debug)]
pub struct AuthRequest<'a> {
    pub auth_type: AuthType,
    pub user: &'a str,
    /// `None`: no such user, or one without a password.
    pub secret: Option<&'a Secret>,
    /// What SCRAM-SHA-256-PLUS binds to; `None` if it cannot be offered.
    pub end_point: Option<&'a [u8]>,
    /// A password may be sent in clear where others may read it.
    pub allow_cleartext: bool,
    /// From the client's verified certificate.
    pub common_name: Option<&'a str>,
    /// For the salts of users that do not exist; random, the same all the process's life.
    pub mock_key: &'a [u8; 32],
    /// Of SCRAM, for users without a verifier of their own: those who do not exist look like those who do.
    pub iterations: NonZeroU32,
    /// Bounds how many passwords are hashed at once.
    pub hashing: &'a Hashing,
    /// For `Ldap` and `Pam`.
    pub judge: Option<&'a Judge>,
    /// Bounds how many are asked about elsewhere at once.
    pub turns: &'a Turns,
    /// `None`: over a Unix socket.
    pub from: Option<IpAddr>,
    /// Whether a password that is judged elsewhere lets the user in.
    pub is_known: bool,
}

/// What the login has told us besides.
#[derive(Debug, Default)]
pub struct Proof {
    /// Good for a server with the same verifier.
    pub keys: Option<ScramKeys>,
    /// Sent in clear.
    pub password: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("connection lost during login: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Protocol(&'static str),
    #[error("password authentication failed for user \"{0}\"")]
    Failed(String),
    #[error("certificate authentication failed for user \"{0}\"")]
    Certificate(String),
    /// The last is why nobody could be asked: the client is not told.
    #[error("{0} authentication failed for user \"{1}\"")]
    Elsewhere(&'static str, String, Option<String>),
    #[error("cleartext password refused: the connection is not encrypted")]
    NotEncrypted,
}

/// Asks for what `auth_type` demands. Does not send AuthenticationOk.
///
/// # Errors
/// [`AuthError`]; the caller tells the client.
pub async fn authenticate(
    stream: &mut Stream,
    request: &AuthRequest<'_>,
) -> Result<Proof, AuthError> {
    match request.auth_type {
        AuthType::Trust | AuthType::Any => Ok(Proof::default()),
        AuthType::Cert if request.common_name == Some(request.user) => Ok(Proof::default()),
        AuthType::Cert => Err(AuthError::Certificate(request.user.to_owned())),
        AuthType::Plain => cleartext(stream, request).await,
        AuthType::Ldap | AuthType::Pam => elsewhere(stream, request).await,
        // A rule has decided for one of the others.
        AuthType::Hba => Err(AuthError::Failed(request.user.to_owned())),
        // Unknown users get what most known ones get.
        AuthType::Md5 if !matches!(request.secret, Some(Secret::Scram(_))) => {
            md5_password(stream, request).await
        }
        AuthType::Md5 | AuthType::ScramSha256 => scram_exchange(stream, request).await,
    }
}

fn failed(request: &AuthRequest<'_>) -> AuthError {
    AuthError::Failed(request.user.to_owned())
}

/// Asks for the password in clear, if it may be.
async fn password_in_clear(
    stream: &mut Stream,
    request: &AuthRequest<'_>,
) -> Result<String, AuthError> {
    if !stream.is_tls() && !stream.is_unix() && !request.allow_cleartext {
        return Err(AuthError::NotEncrypted);
    }
    send(stream, 3, &[]).await?;
    password_message(stream).await
}

async fn elsewhere(stream: &mut Stream, request: &AuthRequest<'_>) -> Result<Proof, AuthError> {
    let judge = request.judge.ok_or_else(|| failed(request))?;
    let password = password_in_clear(stream, request).await?;
    // Asked about unknown users, too, or the time taken would tell who is known.
    let verdict = judge
        .accepts(request.turns, request.user, &password, request.from)
        .await;
    if !(verdict == Ok(true) && request.is_known) {
        let user = request.user.to_owned();
        return Err(AuthError::Elsewhere(judge.label(), user, verdict.err()));
    }
    Ok(Proof {
        keys: None,
        password: Some(password),
    })
}

async fn cleartext(stream: &mut Stream, request: &AuthRequest<'_>) -> Result<Proof, AuthError> {
    let password = password_in_clear(stream, request).await?;
    let stored = match request.secret {
        Some(Secret::Scram(text)) => ScramVerifier::parse(text),
        _ => None,
    };
    // Everybody is hashed for, or the time taken would tell who has which kind of secret, or none.
    let verifier = stored.unwrap_or_else(|| mock_of(request));
    let fits = fits(request, verifier, password.clone()).await;
    let same = |known: &str, given: &str| {
        constant_time::verify_slices_are_equal(known.as_bytes(), given.as_bytes()).is_ok()
    };
    let good = match request.secret {
        Some(Secret::Plain(known)) => same(known, &password),
        Some(Secret::Md5(known)) => same(known, &md5::stored(&password, request.user)),
        Some(Secret::Scram(_)) => fits,
        None => false,
    };
    if !good {
        return Err(failed(request));
    }
    Ok(Proof {
        keys: None,
        password: Some(password),
    })
}

async fn fits(request: &AuthRequest<'_>, verifier: ScramVerifier, password: String) -> bool {
    let hash = move || verifier.fits(&password);
    request.hashing.run(hash).await.unwrap_or(false)
}

async fn md5_password(stream: &mut Stream, request: &AuthRequest<'_>) -> Result<Proof, AuthError> {
    let mut salt = [0; 4];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| AuthError::Protocol("no random numbers"))?;
    send(stream, 5, &salt).await?;
    let given = password_message(stream).await?;
    let stored = match request.secret {
        Some(Secret::Plain(password)) => md5::stored(password, request.user),
        Some(Secret::Md5(stored)) => stored.to_string(),
        // A digest that no password has.
        Some(Secret::Scram(_)) | None => format!("md5{}", "x".repeat(32)),
    };
    let wanted = md5::response(&stored, salt);
    let same = constant_time::verify_slices_are_equal(wanted.as_bytes(), given.as_bytes());
    match request.secret {
        Some(_) if same.is_ok() => Ok(Proof::default()),
        _ => Err(failed(request)),
    }
}

async fn scram_exchange(
    stream: &mut Stream,
    request: &AuthRequest<'_>,
) -> Result<Proof, AuthError> {
    let verifier = verifier(request).await?;
    let plus_offered = request.end_point.is_some();
    let mechanisms: &[u8] = if plus_offered {
        b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
    } else {
        b"SCRAM-SHA-256\0\0"
    };
    send(stream, 10, mechanisms).await?;
    let first = message(stream, scram::MESSAGE_MAX + 64).await?;
    let (name, data) = initial_response(&first).ok_or(MALFORMED)?;
    let mechanism = match (name, request.end_point) {
        (b"SCRAM-SHA-256", _) => Mechanism::Plain { plus_offered },
        (b"SCRAM-SHA-256-PLUS", Some(hash)) => Mechanism::Plus(hash.to_vec()),
        _ => {
            return Err(AuthError::Protocol(
                "client selected an invalid SASL authentication mechanism",
            ));
        }
    };
    let answer = |error| scram_error(request, error);
    let challenge = scram::begin(verifier, &mechanism, data).map_err(answer)?;
    send(stream, 11, challenge.message().as_bytes()).await?;
    let last = message(stream, scram::MESSAGE_MAX).await?;
    let (server_final, keys) = challenge.verify(&last).map_err(answer)?;
    send(stream, 12, server_final.as_bytes()).await?;
    Ok(Proof {
        keys: Some(keys),
        password: None,
    })
}

const MALFORMED: AuthError = AuthError::Protocol("malformed SASL message");

fn scram_error(request: &AuthRequest<'_>, error: ScramError) -> AuthError {
    match error {
        ScramError::WrongProof => failed(request),
        ScramError::Malformed => MALFORMED,
        ScramError::ChannelBinding => {
            AuthError::Protocol("SCRAM channel binding negotiation error")
        }
        ScramError::Unsupported => AuthError::Protocol("unsupported SCRAM extension"),
        ScramError::NoEntropy => AuthError::Protocol("no random numbers"),
    }
}

fn mock_of(request: &AuthRequest<'_>) -> ScramVerifier {
    ScramVerifier::mock(request.user, request.mock_key, request.iterations)
}

async fn verifier(request: &AuthRequest<'_>) -> Result<ScramVerifier, AuthError> {
    match request.secret {
        Some(Secret::Scram(text)) => {
            // A stored verifier that cannot be read fits no password.
            let mock = || mock_of(request);
            Ok(ScramVerifier::parse(text).unwrap_or_else(mock))
        }
        // The caller has turned passwords into verifiers; here it would cost time on this thread.
        Some(Secret::Plain(password)) => {
            let (password, mut salt) = (Arc::clone(password), [0; 16]);
            aws_lc_rs::rand::fill(&mut salt)
                .map_err(|_| AuthError::Protocol("no random numbers"))?;
            let iterations = request.iterations;
            let derive = move || ScramVerifier::derive(&password, &salt, iterations);
            let derived = request.hashing.run(derive).await;
            derived.ok_or(AuthError::Protocol("shutting down"))
        }
        // An MD5 hash is no use for SCRAM.
        Some(Secret::Md5(_)) | None => Ok(mock_of(request)),
    }
}

/// SASLInitialResponse: mechanism, length, data.
fn initial_response(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, body)?;
    let (name, rest) = (&body[..end], &body[end + 1..]);
    let (length, data) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    (data.len() == length).then_some((name, data))
}

async fn send(stream: &mut Stream, kind: u32, data: &[u8]) -> io::Result<()> {
    let mut out = vec![b'R'];
    // Our own messages, all short.
    out.extend_from_slice(&(8 + data.len() as u32).to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(data);
    stream.write_all(&out).await?;
    stream.flush().await
}

async fn password_message(stream: &mut Stream) -> Result<String, AuthError> {
    let body = message(stream, PASSWORD_MAX).await?;
    let text =
        frontend::query_text(&body).ok_or(AuthError::Protocol("malformed password message"))?;
    if text.is_empty() {
        return Err(AuthError::Protocol("empty password returned by client"));
    }
    String::from_utf8(text.to_vec()).map_err(|_| AuthError::Protocol("malformed password message"))
}

/// The body of the next message, which must be of type `p`. Reads exactly that: the client must
/// wait for our answer.
async fn message(stream: &mut Stream, limit: usize) -> Result<Vec<u8>, AuthError> {
    let mut head = [0; HEADER];
    stream.read_exact(&mut head).await?;
    let header = frame::header(&head).map_err(|_| AuthError::Protocol("invalid message length"))?;
    let header = header.filter(|h| h.tag == b'p');
    let header = header.ok_or(AuthError::Protocol("expected password response"))?;
    let length = header.total - HEADER;
    if length > limit {
        return Err(AuthError::Protocol("password message is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}
