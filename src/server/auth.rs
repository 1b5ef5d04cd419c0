//! Proving to a PostgreSQL server who we are (PostgreSQL docs, "Start-up" and "SASL
//! Authentication").
//!
//! The server chooses the method; [`Prover`] answers with what [`Credentials`] allow, or says
//! what would have been needed. A password travels in clear text if the server asks for it, over
//! whatever the connection is, as with libpq and PgBouncer: `sslmode` is the setting for that.

use std::fmt;

use bytes::{BufMut as _, BytesMut};
use md5::{Digest as _, Md5};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::auth::scram::ScramKeys;
use crate::auth::scram_client::{
    Challenge, ChannelBinding, ClientFirst, SCRAM_SHA_256, SCRAM_SHA_256_PLUS,
};
use crate::auth::secret::Secret;
use crate::server::connect::wire::{Message, Wire, take_cstr, take_u32};
use crate::server::connect::{AuthError, ConnectError, Method, ProtocolError, ServerError};

mod key_cache;
#[cfg(test)]
mod tests;

pub use key_cache::KeyCache;

/// What we have to prove who we are.
#[derive(Clone)]
pub enum Credentials {
    /// Nothing; good for `trust`, `peer`, `cert` and the like.
    None,
    Secret(Secret),
    /// Pass-through: the keys that a client's own SCRAM login revealed. They fit a server whose
    /// verifier of this user is the very one that the client was checked against.
    ScramKeys(ScramKeys),
}

/// Everything that an answer to an authentication request may need.
#[derive(Debug)]
pub(crate) struct Prover<'a> {
    pub(crate) user: &'a str,
    pub(crate) credentials: &'a Credentials,
    /// `tls-server-end-point` data, if the connection has any.
    pub(crate) binding: Option<Vec<u8>>,
    pub(crate) keys: &'a KeyCache,
}

/// The authentication messages (all of tag `R`), by the code they begin with.
enum Request<'a> {
    Ok,
    Cleartext,
    Md5 { salt: [u8; 4] },
    Sasl { mechanisms: &'a [u8] },
    SaslContinue(&'a [u8]),
    SaslFinal(&'a [u8]),
    Unsupported(Method),
}

// === impl Prover ===

impl Prover<'_> {
    /// Answers `first` and what follows, until the server says that it is satisfied.
    ///
    /// # Errors
    /// When the server refuses, asks for what we cannot give, or does not prove its own
    /// knowledge of the password where the method has it do so.
    pub(crate) async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        wire: &mut Wire<S>,
        first: Message,
    ) -> Result<(), ConnectError> {
        match request(&first)? {
            Request::Ok => return Ok(()),
            Request::Cleartext => {
                let password = self.cleartext()?;
                wire.write_password(&password).await?;
            }
            Request::Md5 { salt } => {
                let answer = self.md5(salt)?;
                wire.write_password(answer.as_bytes()).await?;
            }
            Request::Sasl { mechanisms } => self.sasl(wire, mechanisms).await?,
            Request::Unsupported(method) => return Err(AuthError::Unsupported(method).into()),
            Request::SaslContinue(_) | Request::SaslFinal(_) => {
                return Err(ProtocolError::UnexpectedMessage(first.tag).into());
            }
        }
        let last = wire.read().await?;
        match request(&last)? {
            Request::Ok => Ok(()),
            _ => Err(ProtocolError::UnexpectedMessage(last.tag).into()),
        }
    }

    fn cleartext(&self) -> Result<Vec<u8>, ConnectError> {
        let Credentials::Secret(Secret::Plain(password)) = self.credentials else {
            return Err(self.lacking(Method::Cleartext, "the password itself"));
        };
        if password.contains('\0') {
            return Err(ConnectError::Parameter("password".into()));
        }
        Ok([password.as_bytes(), b"\0"].concat())
    }

    /// `md5` and md5(md5(password + user) + salt), each in hexadecimal, and a NUL.
    fn md5(&self, salt: [u8; 4]) -> Result<String, ConnectError> {
        let inner = match self.credentials {
            Credentials::Secret(Secret::Plain(password)) => {
                md5_hex(&[password.as_bytes(), self.user.as_bytes()])
            }
            Credentials::Secret(Secret::Md5(stored)) => {
                // A server stores and hashes lower case.
                stored.trim_start_matches("md5").to_ascii_lowercase()
            }
            _ => {
                return Err(self.lacking(Method::Md5, "the password itself or its md5 hash"));
            }
        };
        Ok(format!("md5{}\0", md5_hex(&[inner.as_bytes(), &salt])))
    }

    /// The SASL exchange up to and including the server's proof.
    async fn sasl<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        wire: &mut Wire<S>,
        mechanisms: &[u8],
    ) -> Result<(), ConnectError> {
        let binding = self.choose_binding(mechanisms)?;
        let client = ClientFirst::new(binding).map_err(AuthError::Scram)?;
        wire.write_password(&initial_response(&client)).await?;

        let message = wire.read().await?;
        let Request::SaslContinue(server_first) = request(&message)? else {
            return Err(ProtocolError::UnexpectedMessage(message.tag).into());
        };
        let challenge = client.challenge(server_first).map_err(AuthError::Scram)?;
        let keys = self.scram_keys(&challenge).await?;
        let (client_final, await_proof) = challenge.respond(&keys);
        wire.write_password(client_final.as_bytes()).await?;

        let message = wire.read().await?;
        let Request::SaslFinal(server_final) = request(&message)? else {
            // AuthenticationOk here would be a server that skips its proof.
            return Err(ProtocolError::UnexpectedMessage(message.tag).into());
        };
        await_proof.verify(server_final).map_err(AuthError::Scram)?;
        Ok(())
    }

    /// Picks the mechanism, which decides what to say about channel binding. Says first if there
    /// is nothing to answer with, so that no exchange is begun in vain.
    fn choose_binding(&self, mechanisms: &[u8]) -> Result<ChannelBinding, ConnectError> {
        let offered = mechanism_list(mechanisms)?;
        let offers = |name: &str| offered.contains(&name.as_bytes());
        let able = match self.credentials {
            Credentials::Secret(Secret::Plain(_)) | Credentials::ScramKeys(_) => true,
            Credentials::Secret(Secret::Scram(verifier)) => self.keys.proven(verifier).is_some(),
            Credentials::Secret(Secret::Md5(_)) | Credentials::None => false,
        };
        if !able {
            let needed = "the password itself or the keys of a client's SCRAM login";
            return Err(self.lacking(Method::Sasl, needed));
        }
        match &self.binding {
            Some(data) if offers(SCRAM_SHA_256_PLUS) => {
                Ok(ChannelBinding::TlsServerEndPoint(data.clone()))
            }
            Some(_) if offers(SCRAM_SHA_256) => Ok(ChannelBinding::NotOffered),
            None if offers(SCRAM_SHA_256) => Ok(ChannelBinding::Unsupported),
            _ => {
                let names = offered.join(&b", "[..]).escape_ascii().to_string();
                Err(AuthError::UnsupportedSasl(names).into())
            }
        }
    }

    async fn scram_keys(&self, challenge: &Challenge) -> Result<ScramKeys, ConnectError> {
        match self.credentials {
            Credentials::ScramKeys(keys) => Ok(keys.clone()),
            Credentials::Secret(Secret::Plain(password)) => {
                let keys = self.keys.get(password, challenge).await?;
                Ok(keys)
            }
            Credentials::Secret(Secret::Scram(verifier)) => {
                let proven = self.keys.proven(verifier);
                proven.ok_or_else(|| self.lacking(Method::Sasl, "the keys of a client's login"))
            }
            // `choose_binding` has refused these already.
            _ => Err(self.lacking(Method::Sasl, "the password itself")),
        }
    }

    fn lacking(&self, asked: Method, needed: &'static str) -> ConnectError {
        let have = match self.credentials {
            Credentials::None => "no secret for this user",
            Credentials::Secret(Secret::Plain(_)) => "the password",
            Credentials::Secret(Secret::Md5(_)) => "only an md5 hash",
            Credentials::Secret(Secret::Scram(_)) => "only a SCRAM verifier",
            Credentials::ScramKeys(_) => "only the keys of a client's SCRAM login",
        };
        AuthError::SecretNeeded {
            asked,
            needed,
            have,
        }
        .into()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::None => f.write_str("None"),
            Credentials::Secret(secret) => secret.fmt(f), // which hides it
            Credentials::ScramKeys(_) => f.write_str("ScramKeys(..)"),
        }
    }
}

// === functions ===

/// Reads an Authentication message; an ErrorResponse in its place is the server's refusal.
fn request(message: &Message) -> Result<Request<'_>, ConnectError> {
    match message.tag {
        b'R' => {}
        b'E' => {
            let error = ServerError::parse(&message.body);
            return Err(ConnectError::Server(Box::new(error)));
        }
        tag => return Err(ProtocolError::UnexpectedMessage(tag).into()),
    }
    let malformed = ProtocolError::Malformed("Authentication");
    let (code, rest) = take_u32(&message.body).ok_or(malformed.clone())?;
    Ok(match code {
        0 => Request::Ok,
        2 => Request::Unsupported(Method::Kerberos5),
        3 => Request::Cleartext,
        5 => Request::Md5 {
            salt: rest.try_into().map_err(|_| malformed)?,
        },
        6 => Request::Unsupported(Method::ScmCredential),
        7 | 8 => Request::Unsupported(Method::Gss),
        9 => Request::Unsupported(Method::Sspi),
        10 => Request::Sasl { mechanisms: rest },
        11 => Request::SaslContinue(rest),
        12 => Request::SaslFinal(rest),
        other => Request::Unsupported(Method::Other(other)),
    })
}

/// The names in an AuthenticationSASL message, which end with an empty one.
fn mechanism_list(mut bytes: &[u8]) -> Result<Vec<&[u8]>, ProtocolError> {
    let mut names = Vec::new();
    loop {
        let (name, rest) = take_cstr(bytes).ok_or(ProtocolError::Malformed("Authentication"))?;
        if name.is_empty() {
            return Ok(names);
        }
        names.push(name);
        bytes = rest;
    }
}

/// Body of SASLInitialResponse.
fn initial_response(client: &ClientFirst) -> BytesMut {
    let first = client.message();
    let mut body = BytesMut::with_capacity(first.len() + 32);
    body.put_slice(client.mechanism().as_bytes());
    body.put_u8(0);
    body.put_u32(u32::try_from(first.len()).unwrap_or(u32::MAX)); // some 40 bytes
    body.put_slice(first.as_bytes());
    body
}

fn md5_hex(parts: &[&[u8]]) -> String {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    format!("{:x}", hash.finalize())
}
