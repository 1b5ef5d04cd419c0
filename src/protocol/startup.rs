//! The packets before the first typed message: no type byte, a length and a code (PostgreSQL docs,
//! "Message Formats": CancelRequest, GSSENCRequest, SSLRequest, StartupMessage).

/// PostgreSQL's own limit (MAX_STARTUP_PACKET_LENGTH).
pub const PACKET_MAX: usize = 10_000;

const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSSENC: u32 = 80_877_104;
/// Our own: a new process asks the running one for its sockets. No version of the protocol and no
/// other request has this number.
const HAND_OVER: u32 = u32::from_be_bytes(*b"wei\x01");
/// Newest minor version of protocol 3 that we speak.
pub const NEWEST_MINOR: u16 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    Ssl,
    GssEnc,
    Cancel {
        pid: i32,
        secret: Vec<u8>,
    },
    /// See [`crate::handover`].
    HandOver,
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
    pub replication: Replication,
    /// Settings in the order in which the server applies them, the last of a name counting: those
    /// in `options` come first, so that a parameter of its own goes before them.
    pub parameters: Vec<(String, String)>,
    /// How many of them come from `options`.
    pub from_options: usize,
}

/// The `application_name` among parameters, as the server takes it: the last of that name, in whatever case.
pub fn application_name(parameters: &[(String, String)]) -> Option<&str> {
    let mut last = parameters.iter().rev();
    let named = last.find(|(name, _)| name.eq_ignore_ascii_case("application_name"));
    named.map(|(_, value)| value.as_str())
}

/// Whether a connection is to a WAL sender (PostgreSQL docs, "Streaming Replication Protocol").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Replication {
    /// An ordinary connection.
    #[default]
    None,
    /// To one of a database.
    Logical,
    /// To one of the whole server, which has no database.
    Physical,
}

impl Replication {
    /// As the console names it.
    pub fn label(self) -> &'static str {
        match self {
            Replication::None => "none",
            Replication::Logical => "logical",
            Replication::Physical => "physical",
        }
    }

    /// The startup parameter that asks for it.
    pub fn parameter(self) -> &'static str {
        match self {
            Replication::None => "no",
            Replication::Logical => "database",
            Replication::Physical => "yes",
        }
    }
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
    #[error("{0} requires a value")]
    OptionValue(String),
    #[error("invalid value for parameter \"replication\": \"{0}\"")]
    Replication(String),
    #[error("invalid byte sequence in startup packet")]
    Encoding,
}

/// Asks the running process for its sockets.
pub fn hand_over() -> [u8; 8] {
    let mut packet = [0, 0, 0, 8, 0, 0, 0, 0];
    packet[4..].copy_from_slice(&HAND_OVER.to_be_bytes());
    packet
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
        HAND_OVER if rest.is_empty() => Packet::HandOver,
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
        replication: Replication::None,
        parameters: Vec::new(),
        from_options: 0,
    };
    let (mut unknown, mut switches) = (Vec::new(), "");
    let mut rest = rest;
    loop {
        let name;
        (name, rest) = string(rest)?;
        if name.is_empty() {
            break; // The terminator, which nothing may follow.
        }
        let value;
        (value, rest) = string(rest)?;
        match name {
            "user" => value.clone_into(&mut startup.user),
            "database" => value.clone_into(&mut startup.database),
            "options" => switches = value,
            "replication" => startup.replication = replication(value)?,
            _ if name.starts_with("_pq_.") => unknown.push(name.to_owned()),
            _ => startup.parameters.push((name.to_owned(), value.to_owned())),
        }
    }
    if !rest.is_empty() {
        return Err(StartupError::Layout);
    }
    let options = options(switches)?;
    startup.from_options = options.len();
    startup.parameters.splice(0..0, options);
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

/// Splits a string off the front. One without an end means that the packet's terminator is missing.
fn string(bytes: &[u8]) -> Result<(&str, &[u8]), StartupError> {
    let end = memchr::memchr(0, bytes).ok_or(StartupError::Layout)?;
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| StartupError::Encoding)?;
    Ok((text, &bytes[end + 1..]))
}

/// `database` (logical replication), or a boolean as the server reads them: any beginning of a word
/// that is no other's, in any case.
fn replication(value: &str) -> Result<Replication, StartupError> {
    let word = value.to_ascii_lowercase();
    let is_one_of = |words: [&str; 4]| {
        !matches!(&*word, "" | "o") && words.iter().any(|known| known.starts_with(&*word))
    };
    if value == "database" {
        Ok(Replication::Logical)
    } else if is_one_of(["true", "yes", "on", "1"]) {
        Ok(Replication::Physical)
    } else if is_one_of(["false", "no", "off", "0"]) {
        Ok(Replication::None)
    } else {
        Err(StartupError::Replication(value.to_owned()))
    }
}

/// The switches in `options` (PostgreSQL docs, `libpq` parameter `options`): words separated by
/// blanks, a backslash takes the next character as it is. `-c NAME=VALUE` and `--NAME=VALUE` are
/// understood; the others (`-e`, `-S` and so on) are no settings that a pool could keep.
fn options(text: &str) -> Result<Vec<(String, String)>, StartupError> {
    let mut settings = Vec::new();
    let mut words = split_words(text).into_iter();
    while let Some(word) = words.next() {
        let refused = || StartupError::Option(word.clone());
        let setting = if word == "-c" {
            words.next().ok_or_else(refused)?
        } else if word == "--" {
            // The end of the switches; arguments could follow, and the server wants none.
            match words.next() {
                Some(argument) => return Err(StartupError::Option(argument)),
                None => break,
            }
        } else if let Some(setting) = word.strip_prefix("--") {
            setting.to_owned()
        } else if let Some(setting) = word.strip_prefix("-c") {
            setting.to_owned()
        } else {
            return Err(refused());
        };
        let Some((name, value)) = setting.split_once('=') else {
            let switch = if word.starts_with("--") { "--" } else { "-c " };
            return Err(StartupError::OptionValue(format!("{switch}{setting}")));
        };
        // As the server does: --log-min-messages means log_min_messages.
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
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
