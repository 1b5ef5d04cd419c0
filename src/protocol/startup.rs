//! The packets before the first typed message: no type byte, a length and a code (PostgreSQL docs,
//! "Message Formats": CancelRequest, GSSENCRequest, SSLRequest, StartupMessage).

/// PostgreSQL's own limit (MAX_STARTUP_PACKET_LENGTH).
pub const PACKET_MAX: usize = 10_000;

const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSSENC: u32 = 80_877_104;
/// Newest minor version of protocol 3 that we speak.
pub const NEWEST_MINOR: u16 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    Ssl,
    GssEnc,
    Cancel { pid: i32, secret: Vec<u8> },
    Startup(Startup),
}

/// What a client asks for at the beginning of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// The minor version in use: 0 or 2.
    pub minor: u16,
    /// Set if the client must be told what we do not know (NegotiateProtocolVersion).
    pub negotiate: Option<Vec<String>>,
    pub user: String,
    /// The user's name if the client did not say.
    pub database: String,
    pub replication: Option<String>,
    /// Settings, those in `options` included, in order.
    pub parameters: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    #[error("invalid length of startup packet")]
    Length,
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    #[error(
        "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{NEWEST_MINOR}"
    )]
    Version { major: u16, minor: u16 },
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    #[error("invalid command-line argument for server process: {0}")]
    Option(String),
    #[error("invalid byte sequence in startup packet")]
    Encoding,
}

/// Reads the packet at the start of `bytes` and says how long it is; `None` means that more bytes
/// are needed.
///
/// # Errors
/// [`StartupError`]: the connection is of no use.
pub fn packet(bytes: &[u8]) -> Result<Option<(Packet, usize)>, StartupError> {
    let Some(length) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if !(8..=PACKET_MAX).contains(&length) {
        return Err(StartupError::Length);
    }
    let Some(body) = bytes.get(4..length) else {
        return Ok(None);
    };
    // At least eight bytes: there is a code.
    let (code, rest) = body.split_first_chunk::<4>().ok_or(StartupError::Length)?;
    let packet = match u32::from_be_bytes(*code) {
        SSL => Packet::Ssl,
        GSSENC => Packet::GssEnc,
        CANCEL => {
            let (pid, secret) = rest.split_first_chunk::<4>().ok_or(StartupError::Length)?;
            if !(4..=256).contains(&secret.len()) {
                return Err(StartupError::Length);
            }
            Packet::Cancel {
                pid: i32::from_be_bytes(*pid),
                secret: secret.to_vec(),
            }
        }
        version => Packet::Startup(startup(version, rest)?),
    };
    Ok(Some((packet, length)))
}

fn startup(version: u32, rest: &[u8]) -> Result<Startup, StartupError> {
    let (major, asked) = ((version >> 16) as u16, (version & 0xffff) as u16);
    if major != 3 {
        return Err(StartupError::Version {
            major,
            minor: asked,
        });
    }
    let Some((0, rest)) = rest.split_last() else {
        return Err(StartupError::Layout);
    };
    // 3.1 was never used; who asks for it gets 3.0, as from PostgreSQL 18.
    let minor = if asked >= NEWEST_MINOR {
        NEWEST_MINOR
    } else {
        0
    };
    let mut startup = Startup {
        minor,
        negotiate: None,
        user: String::new(),
        database: String::new(),
        replication: None,
        parameters: Vec::new(),
    };
    let mut unknown = Vec::new();
    let mut strings = rest.split_inclusive(|b| *b == 0).map(|s| match s {
        [text @ .., 0] => std::str::from_utf8(text).map_err(|_| StartupError::Encoding),
        _ => Err(StartupError::Layout),
    });
    while let Some(name) = strings.next() {
        let (name, value) = (name?, strings.next().ok_or(StartupError::Layout)??);
        match name {
            "user" => value.clone_into(&mut startup.user),
            "database" => value.clone_into(&mut startup.database),
            "options" => options(value, &mut startup.parameters)?,
            "replication" => startup.replication = replication(value),
            _ if name.starts_with("_pq_.") => unknown.push(name.to_owned()),
            _ => startup.parameters.push((name.to_owned(), value.to_owned())),
        }
    }
    if startup.user.is_empty() {
        return Err(StartupError::NoUser);
    }
    if startup.database.is_empty() {
        startup.database.clone_from(&startup.user);
    }
    if asked != minor || !unknown.is_empty() {
        startup.negotiate = Some(unknown);
    }
    Ok(startup)
}

fn replication(value: &str) -> Option<String> {
    let off = ["", "0", "off", "false", "no", "f", "n"];
    (!off.contains(&value.to_ascii_lowercase().as_str())).then(|| value.to_owned())
}

/// The switches in `options` (PostgreSQL docs, `libpq` parameter `options`): words separated by
/// blanks, a backslash takes the next character as it is.
fn options(text: &str, into: &mut Vec<(String, String)>) -> Result<(), StartupError> {
    let mut words = split_words(text).into_iter();
    while let Some(word) = words.next() {
        let refused = || StartupError::Option(word.clone());
        let setting = if word == "-c" {
            words.next().ok_or_else(refused)?
        } else if let Some(setting) = word.strip_prefix("--") {
            setting.to_owned()
        } else if let Some(setting) = word.strip_prefix("-c") {
            setting.to_owned()
        } else {
            return Err(refused());
        };
        let (name, value) = setting.split_once('=').ok_or_else(refused)?;
        // As the server does: --log-min-messages means log_min_messages.
        into.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(())
}

fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c.is_ascii_whitespace() {
            words.extend(word.take());
        } else {
            let c = if c == '\\' { chars.next() } else { Some(c) };
            word.get_or_insert_default().extend(c);
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests;
