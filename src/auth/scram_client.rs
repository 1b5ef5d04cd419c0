//! The client side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), without I/O.
//!
//! Each step of the exchange is a type that only the step before can make, so a message cannot be
//! taken out of order: [`ClientFirst`] → [`Challenge`] → [`AwaitProof`] → done. The keys that the
//! proof needs come from the caller, because deriving them ([`derive_keys`]) costs milliseconds
//! and belongs off the relay threads, and because pass-through has them without a password.
//!
//! Not done here: the server side.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::auth::salting::salted;
use crate::auth::saslprep::prepared;
use crate::auth::scram::ScramKeys;

#[cfg(test)]
mod tests;

/// Mechanism name without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// Mechanism name with channel binding.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Most PBKDF2 rounds that a server may ask for; PostgreSQL's default is 4096.
pub const MAX_ITERATIONS: u32 = 1_000_000;
/// Longest message accepted from the server, in bytes; a usual one has about 85.
pub const MAX_MESSAGE: usize = 4096;
/// Longest nonce (ours and the server's part together), in bytes; PostgreSQL's has 48.
const MAX_NONCE: usize = 1024;
/// Longest salt, in bytes after decoding; PostgreSQL's has 16.
const MAX_SALT: usize = 1024;
/// Random bytes in our nonce, as many as PostgreSQL uses.
const NONCE_BYTES: usize = 18;

/// Why an exchange failed. Nothing here contains secret material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("the server's SCRAM message is longer than {MAX_MESSAGE} bytes")]
    TooLong,
    #[error("malformed SCRAM message from the server: {0}")]
    Malformed(&'static str),
    #[error("the server's SCRAM nonce does not begin with ours")]
    NonceMismatch,
    #[error("the server asks for {0} SCRAM iterations; between 1 and {MAX_ITERATIONS} are allowed")]
    Iterations(u64),
    #[error("the server ended the SCRAM exchange with error \"{0}\"")]
    ServerError(String),
    #[error("the server did not prove that it knows the password (wrong SCRAM server signature)")]
    WrongServerSignature,
    #[error("no random numbers available for a SCRAM nonce")]
    Random,
}

/// What we say about channel binding (the GS2 header, RFC 5802 section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelBinding {
    /// `n`: this connection offers none, for example because it is not TLS.
    Unsupported,
    /// `y`: we could, but the server did not offer SCRAM-SHA-256-PLUS. A server that did offer it
    /// sees by this that somebody took the offer away, and refuses.
    NotOffered,
    /// `p=tls-server-end-point` with the hash of the server's certificate (RFC 5929 section 4).
    TlsServerEndPoint(Vec<u8>),
}

/// The first step: our nonce is chosen, nothing has been heard.
#[derive(Debug)]
pub struct ClientFirst {
    binding: ChannelBinding,
    nonce: String,
    /// `client-first-message-bare`.
    bare: String,
}

/// The server's demand: derive the keys for `salt` and `iterations`, then [`Challenge::respond`].
#[derive(Debug)]
pub struct Challenge {
    salt: Vec<u8>,
    iterations: NonZeroU32,
    client_final_without_proof: String,
    auth_message: String,
}

/// The last step: our proof is made, the server's is awaited.
pub struct AwaitProof {
    server_signature: [u8; 32],
}

// === impl ChannelBinding ===

impl ChannelBinding {
    /// The SASL mechanism to ask for.
    pub fn mechanism(&self) -> &'static str {
        match self {
            ChannelBinding::TlsServerEndPoint(_) => SCRAM_SHA_256_PLUS,
            ChannelBinding::Unsupported | ChannelBinding::NotOffered => SCRAM_SHA_256,
        }
    }

    fn gs2_header(&self) -> &'static str {
        match self {
            ChannelBinding::Unsupported => "n,,",
            ChannelBinding::NotOffered => "y,,",
            ChannelBinding::TlsServerEndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    /// `cbind-input` of RFC 5802 section 7, in base64.
    fn encoded(&self) -> String {
        let mut input = self.gs2_header().as_bytes().to_vec();
        if let ChannelBinding::TlsServerEndPoint(data) = self {
            input.extend_from_slice(data);
        }
        BASE64.encode(input)
    }
}

// === impl ClientFirst ===

impl ClientFirst {
    /// Starts an exchange with a fresh random nonce.
    ///
    /// # Errors
    /// [`ScramError::Random`].
    pub fn new(binding: ChannelBinding) -> Result<ClientFirst, ScramError> {
        let mut random = [0; NONCE_BYTES];
        rand::fill(&mut random).map_err(|_| ScramError::Random)?;
        // PostgreSQL takes the user name of the startup packet and wants none here
        // (PostgreSQL docs, "SASL Authentication").
        Ok(ClientFirst::with(binding, "", BASE64.encode(random)))
    }

    /// `nonce` must be printable ASCII without commas.
    fn with(binding: ChannelBinding, user: &str, nonce: String) -> ClientFirst {
        let bare = format!("n={user},r={nonce}");
        ClientFirst {
            binding,
            nonce,
            bare,
        }
    }

    /// The SASL mechanism to ask for.
    pub fn mechanism(&self) -> &'static str {
        self.binding.mechanism()
    }

    /// `client-first-message`.
    pub fn message(&self) -> String {
        format!("{}{}", self.binding.gs2_header(), self.bare)
    }

    /// Takes `server-first-message`.
    ///
    /// # Errors
    /// When it is malformed, out of bounds, or does not continue our nonce.
    pub fn challenge(self, server_first: &[u8]) -> Result<Challenge, ScramError> {
        let text = as_text(server_first)?;
        let mut attributes = text.split(',');
        let nonce = attribute(attributes.next(), "r=", "nonce expected")?;
        let salt = attribute(attributes.next(), "s=", "salt expected")?;
        let iterations = attribute(attributes.next(), "i=", "iteration count expected")?;
        // Further attributes are extensions, which RFC 5802 section 5.1 says to ignore.

        if nonce.len() > MAX_NONCE {
            return Err(ScramError::Malformed("nonce too long"));
        }
        match nonce.strip_prefix(self.nonce.as_str()) {
            None => return Err(ScramError::NonceMismatch),
            Some("") => {
                return Err(ScramError::Malformed(
                    "the server added nothing to the nonce",
                ));
            }
            Some(_) => {}
        }
        let salt = BASE64
            .decode(salt)
            .map_err(|_| ScramError::Malformed("salt is not base64"))?;
        if salt.is_empty() || salt.len() > MAX_SALT {
            return Err(ScramError::Malformed("salt of unreasonable length"));
        }
        let iterations = parse_iterations(iterations)?;

        let client_final_without_proof = format!("c={},r={nonce}", self.binding.encoded());
        let auth_message = format!("{},{text},{client_final_without_proof}", self.bare);
        Ok(Challenge {
            salt,
            iterations,
            client_final_without_proof,
            auth_message,
        })
    }
}

// === impl Challenge ===

impl Challenge {
    /// 1 to 1024 bytes.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// 1 to [`MAX_ITERATIONS`].
    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// `client-final-message`, and the step that checks the server's answer.
    pub fn respond(self, keys: &ScramKeys) -> (String, AwaitProof) {
        let stored_key = digest::digest(&digest::SHA256, &keys.client_key);
        let signature = hmac_sha256(stored_key.as_ref(), self.auth_message.as_bytes());
        let mut proof = keys.client_key;
        for (p, s) in proof.iter_mut().zip(signature) {
            *p ^= s;
        }
        let message = format!(
            "{},p={}",
            self.client_final_without_proof,
            BASE64.encode(proof)
        );
        let server_signature = hmac_sha256(&keys.server_key, self.auth_message.as_bytes());
        (message, AwaitProof { server_signature })
    }
}

// === impl AwaitProof ===

impl AwaitProof {
    /// Takes `server-final-message`; `Ok` means that the server knows the password's verifier.
    ///
    /// # Errors
    /// When it is malformed, carries an error, or the signature is wrong.
    pub fn verify(self, server_final: &[u8]) -> Result<(), ScramError> {
        let text = as_text(server_final)?;
        let first = text.split(',').next().unwrap_or_default();
        if let Some(error) = first.strip_prefix("e=") {
            return Err(ScramError::ServerError(error.chars().take(100).collect()));
        }
        let signature = attribute(Some(first), "v=", "server signature expected")?;
        let signature = BASE64
            .decode(signature)
            .map_err(|_| ScramError::Malformed("server signature is not base64"))?;
        constant_time::verify_slices_are_equal(&signature, &self.server_signature)
            .map_err(|_| ScramError::WrongServerSignature)
    }
}

impl fmt::Debug for AwaitProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwaitProof(..)")
    }
}

// === functions ===

/// ClientKey and ServerKey of a password (RFC 5802 section 3). Costs `iterations` rounds of
/// HMAC-SHA-256: a few milliseconds at PostgreSQL's default of 4096.
pub fn derive_keys(password: &str, salt: &[u8], iterations: NonZeroU32) -> ScramKeys {
    let salted = salted(prepared(password).as_bytes(), salt, iterations);
    ScramKeys {
        client_key: hmac_sha256(&salted, b"Client Key"),
        server_key: hmac_sha256(&salted, b"Server Key"),
    }
}

fn hmac_sha256(key: &[u8], data: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    let mut out = [0; 32];
    out.copy_from_slice(tag.as_ref()); // an HMAC-SHA-256 tag has 32 bytes
    out
}

/// The message as text: bounded, and free of control characters, which no attribute may hold and
/// which would otherwise reach our log.
fn as_text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MAX_MESSAGE {
        return Err(ScramError::TooLong);
    }
    let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed("not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(ScramError::Malformed("control character"));
    }
    Ok(text)
}

fn attribute<'a>(
    part: Option<&'a str>,
    prefix: &str,
    otherwise: &'static str,
) -> Result<&'a str, ScramError> {
    part.and_then(|p| p.strip_prefix(prefix))
        .ok_or(ScramError::Malformed(otherwise))
}

fn parse_iterations(text: &str) -> Result<NonZeroU32, ScramError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ScramError::Malformed("iteration count is not a number"));
    }
    let count: u64 = text.parse().unwrap_or(u64::MAX); // only too large a number fails here
    u32::try_from(count)
        .ok()
        .filter(|n| *n <= MAX_ITERATIONS)
        .and_then(NonZeroU32::new)
        .ok_or(ScramError::Iterations(count))
}
