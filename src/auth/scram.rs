//! SCRAM-SHA-256, the server's side (RFC 5802, RFC 7677; PostgreSQL docs, "SASL Authentication").
//!
//! Pure: messages in, messages out. The client's proof also tells us its key, which lets us log in
//! to a server that has the same verifier, without anybody's password.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::salting::salted;
use super::saslprep::prepared;

/// Iterations of verifiers that we derive, as PostgreSQL's default (`scram_iterations`).
pub const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
/// Longest message of the exchange that is looked at, in bytes.
pub const MESSAGE_MAX: usize = 4096;
/// Iterations that a stored verifier may have.
const ITERATIONS_MAX: u32 = 10_000_000;
const SALT_LENGTH: usize = 16;

/// What proves the password to a server with the same verifier.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    pub client_key: [u8; 32],
    pub server_key: [u8; 32],
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKeys(..)")
    }
}

/// What a server stores.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    pub iterations: NonZeroU32,
    pub salt: Vec<u8>,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramVerifier(..)")
    }
}

impl fmt::Display for ScramVerifier {
    /// As PostgreSQL stores it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key)
        )
    }
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut out = [0; 32];
    out.copy_from_slice(tag.as_ref());
    out
}

fn sha256(message: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, message).as_ref());
    out
}

impl ScramVerifier {
    /// Reads `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY`.
    pub fn parse(text: &str) -> Option<ScramVerifier> {
        let rest = text.strip_prefix("SCRAM-SHA-256$")?;
        let (head, keys) = rest.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let key = |text: &str| <[u8; 32]>::try_from(STANDARD.decode(text).ok()?).ok();
        let iterations: NonZeroU32 = iterations.parse().ok()?;
        if iterations.get() > ITERATIONS_MAX {
            return None;
        }
        Some(ScramVerifier {
            iterations,
            salt: STANDARD.decode(salt).ok()?,
            stored_key: key(stored)?,
            server_key: key(server)?,
        })
    }

    /// From a password; a millisecond or so of computing at 4096 iterations.
    pub fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> ScramVerifier {
        let salted = salted(prepared(password).as_bytes(), salt, iterations);
        ScramVerifier {
            iterations,
            salt: salt.to_vec(),
            stored_key: sha256(&mac(&salted, b"Client Key")),
            server_key: mac(&salted, b"Server Key"),
        }
    }

    /// Of a user that does not exist: looks like any other, always the same for the same name, and
    /// no password fits it.
    pub fn mock(user: &str, mock_key: &[u8; 32], iterations: NonZeroU32) -> ScramVerifier {
        let seed = mac(mock_key, b"keys");
        ScramVerifier {
            iterations,
            salt: ScramVerifier::own_salt(user, mock_key).to_vec(),
            stored_key: mac(&seed, user.as_bytes()),
            server_key: seed,
        }
    }

    /// The salt of verifiers that we make ourselves. It is the same for a user that exists and for
    /// one that does not, and stays the same as long as `mock_key` does: a salt that changed would
    /// tell which is which.
    pub fn own_salt(user: &str, mock_key: &[u8; 32]) -> [u8; SALT_LENGTH] {
        let mut salt = [0; SALT_LENGTH];
        salt.copy_from_slice(&mac(mock_key, user.as_bytes())[..SALT_LENGTH]);
        salt
    }

    /// Whether this is the verifier of `password`; computes as much as [`ScramVerifier::derive`].
    pub fn fits(&self, password: &str) -> bool {
        let derived = ScramVerifier::derive(password, &self.salt, self.iterations);
        constant_time::verify_slices_are_equal(&derived.stored_key, &self.stored_key).is_ok()
    }
}

/// Which of the two mechanisms the client has chosen, and what its channel binding must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    Plain {
        /// We offered SCRAM-SHA-256-PLUS: a client that claims that we did not has been deceived.
        plus_offered: bool,
    },
    /// With our certificate's hash (`tls-server-end-point`, RFC 5929).
    Plus(Vec<u8>),
}

/// The exchange must end with an authentication failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("malformed SCRAM message")]
    Malformed,
    /// A protocol violation rather than a wrong password.
    #[error("SCRAM channel binding negotiation error")]
    ChannelBinding,
    #[error(
        "the client asks for a SCRAM extension or authorization identity that is not supported"
    )]
    Unsupported,
    #[error("wrong password")]
    WrongProof,
    #[error("the system gives no random numbers")]
    NoEntropy,
}

/// The server waits for the client's proof.
#[derive(Debug)]
pub struct Challenge {
    verifier: ScramVerifier,
    /// `gs2-header` and channel binding data, in base64, as the client must send them back.
    binding: String,
    nonce: String,
    /// `client-first-message-bare`.
    client_first: String,
    server_first: String,
}

/// Handles `client-first-message`.
///
/// # Errors
/// [`ScramError`].
pub fn begin(
    verifier: ScramVerifier,
    mechanism: &Mechanism,
    client_first: &[u8],
) -> Result<Challenge, ScramError> {
    let mut random = [0; 18];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| ScramError::NoEntropy)?;
    begin_with(verifier, mechanism, client_first, &STANDARD.encode(random))
}

fn begin_with(
    verifier: ScramVerifier,
    mechanism: &Mechanism,
    client_first: &[u8],
    our_nonce: &str,
) -> Result<Challenge, ScramError> {
    if client_first.len() > MESSAGE_MAX {
        return Err(ScramError::Malformed);
    }
    let text = std::str::from_utf8(client_first).map_err(|_| ScramError::Malformed)?;
    let mut parts = text.splitn(3, ',');
    let mut next = || parts.next().ok_or(ScramError::Malformed);
    let (flag, identity, bare) = (next()?, next()?, next()?);
    if !identity.is_empty() {
        return Err(ScramError::Unsupported);
    }
    let data: &[u8] = match (mechanism, flag) {
        (Mechanism::Plain { .. }, "n") => &[],
        (
            Mechanism::Plain {
                plus_offered: false,
            },
            "y",
        ) => &[],
        (Mechanism::Plus(hash), "p=tls-server-end-point") => hash,
        _ => return Err(ScramError::ChannelBinding),
    };
    let binding = STANDARD.encode([format!("{flag},,").as_bytes(), data].concat());
    if bare.starts_with("m=") {
        return Err(ScramError::Unsupported);
    }
    // The name is ignored, as PostgreSQL does: the startup message has said it.
    let (user, rest) = bare.split_once(',').ok_or(ScramError::Malformed)?;
    let nonce = rest.split(',').next().and_then(|r| r.strip_prefix("r="));
    let nonce = nonce.filter(|n| user.starts_with("n=") && is_printable(n));
    let nonce = format!("{}{our_nonce}", nonce.ok_or(ScramError::Malformed)?);
    let salt = STANDARD.encode(&verifier.salt);
    Ok(Challenge {
        server_first: format!("r={nonce},s={salt},i={}", verifier.iterations),
        client_first: bare.to_owned(),
        verifier,
        binding,
        nonce,
    })
}

fn is_printable(nonce: &str) -> bool {
    !nonce.is_empty()
        && nonce
            .bytes()
            .all(|b| (0x21..=0x7e).contains(&b) && b != b',')
}

impl Challenge {
    /// `server-first-message`.
    pub fn message(&self) -> &str {
        &self.server_first
    }

    /// Handles `client-final-message`; gives `server-final-message` and the keys.
    ///
    /// # Errors
    /// [`ScramError`].
    pub fn verify(self, client_final: &[u8]) -> Result<(String, ScramKeys), ScramError> {
        if client_final.len() > MESSAGE_MAX {
            return Err(ScramError::Malformed);
        }
        let text = std::str::from_utf8(client_final).map_err(|_| ScramError::Malformed)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut parts = without_proof.split(',');
        let binding = parts.next().and_then(|c| c.strip_prefix("c="));
        let nonce = parts.next().and_then(|r| r.strip_prefix("r="));
        if binding != Some(&self.binding) {
            return Err(ScramError::ChannelBinding);
        }
        if nonce != Some(&self.nonce) {
            return Err(ScramError::Malformed);
        }
        let proof = STANDARD.decode(proof).map_err(|_| ScramError::Malformed)?;
        let proof = <[u8; 32]>::try_from(proof).map_err(|_| ScramError::Malformed)?;
        let signed = format!(
            "{},{},{without_proof}",
            self.client_first, self.server_first
        );
        let signature = mac(&self.verifier.stored_key, signed.as_bytes());
        let mut client_key = [0; 32];
        for (n, key) in client_key.iter_mut().enumerate() {
            *key = proof[n] ^ signature[n];
        }
        constant_time::verify_slices_are_equal(&sha256(&client_key), &self.verifier.stored_key)
            .map_err(|_| ScramError::WrongProof)?;
        let server_key = self.verifier.server_key;
        let answer = STANDARD.encode(mac(&server_key, signed.as_bytes()));
        let keys = ScramKeys {
            client_key,
            server_key,
        };
        Ok((format!("v={answer}"), keys))
    }
}

#[cfg(test)]
mod tests;
