//! The values that a configuration file can hold, each of which parses itself and says what it
//! would have accepted: durations, sizes, counts, ports, file modes, lists and the fixed words of
//! `pool_mode` and its like.
//!
//! Nothing here knows of keys or lines; [`super::raw`] adds those to an error.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

use super::{
    AuthType, Balance, Consistency, Facility, FairBy, Invalidation, ListenChannels, LogStyle,
    OverRate, PoolMode, Priority, ReadYourWrites, Reads, Role, RowSecurity, SessionStatePolicy,
    SslMode, Target,
};

/// Longest duration accepted, a century: far from where adding it to a clock could overflow.
const MAX_DURATION: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);
/// Largest count accepted, as in PgBouncer.
const MAX_COUNT: i64 = i32::MAX as i64;

/// A value written as one number or one text.
trait Scalar: Sized {
    /// What would have been right, to follow "expected".
    const EXPECTED: &'static str;

    fn from_int(_: i64) -> Option<Self> {
        None
    }
    fn from_float(_: f64) -> Option<Self> {
        None
    }
    fn from_text(_: &str) -> Option<Self> {
        None
    }
}

struct ScalarVisitor<T>(PhantomData<T>);

impl<T: Scalar> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        T::from_int(value).ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        T::from_float(value).ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
        T::from_text(value).ok_or_else(|| E::invalid_value(Unexpected::Str(value), &self))
    }
}

macro_rules! deserialize_scalars {
    ($($name:ty),+) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(ScalarVisitor(PhantomData))
            }
        }
    )+};
}

deserialize_scalars!(
    Interval,
    Size,
    Count,
    Ratio,
    Port,
    FileMode,
    PoolMode,
    ListenChannels,
    SessionStatePolicy,
    Invalidation,
    RowSecurity,
    Consistency,
    Balance,
    Priority,
    FairBy,
    OverRate,
    Role,
    Target,
    Reads,
    ReadYourWrites,
    LogStyle,
    Facility,
    SslMode,
    AuthType
);

/// A duration: a number of seconds, whole or not, or a text of a number and a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval(pub Duration);

impl Scalar for Interval {
    const EXPECTED: &'static str = "a duration from 0 to 36500 days: seconds as a number, \
        or a text with a unit such as \"250ms\", \"30s\", \"5m\", \"1h\" or \"1d\"";

    fn from_int(value: i64) -> Option<Interval> {
        Interval::checked(Duration::from_secs(value.try_into().ok()?))
    }

    fn from_float(value: f64) -> Option<Interval> {
        Interval::checked(Duration::try_from_secs_f64(value).ok()?)
    }

    fn from_text(text: &str) -> Option<Interval> {
        let (number, unit) = split_unit(text)?;
        let (whole, seconds) = match unit {
            "ms" => (Duration::from_millis(1), 0.001),
            "s" => (Duration::from_secs(1), 1.0),
            "m" | "min" => (Duration::from_secs(60), 60.0),
            "h" => (Duration::from_secs(3_600), 3_600.0),
            "d" => (Duration::from_secs(86_400), 86_400.0),
            _ => return None,
        };
        // Whole numbers are exact; only fractions go through floating point.
        match number.parse::<u32>() {
            Ok(number) => Interval::checked(whole.checked_mul(number)?),
            Err(_) => Interval::from_float(number.parse::<f64>().ok()? * seconds),
        }
    }
}

impl Interval {
    fn checked(duration: Duration) -> Option<Interval> {
        (duration <= MAX_DURATION).then_some(Interval(duration))
    }
}

impl From<Interval> for Duration {
    fn from(interval: Interval) -> Duration {
        interval.0
    }
}

/// A number of bytes. As in PostgreSQL's own settings, `kB`, `MB` and `GB` are powers of 1024, the
/// same as `KiB`, `MiB` and `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub usize);

impl Scalar for Size {
    const EXPECTED: &'static str =
        "a size: bytes as a whole number, or a text with a unit such as \"64KiB\" or \"16MB\"";

    fn from_int(value: i64) -> Option<Size> {
        value.try_into().ok().map(Size)
    }

    fn from_text(text: &str) -> Option<Size> {
        let (number, unit) = split_unit(text)?;
        let shift = match unit.to_ascii_lowercase().as_str() {
            "b" => 0,
            "kb" | "kib" => 10,
            "mb" | "mib" => 20,
            "gb" | "gib" => 30,
            _ => return None,
        };
        let number: usize = number.parse().ok()?;
        number.checked_mul(1 << shift).map(Size)
    }
}

/// `"1.5 h"` is `("1.5", "h")`. Signs, exponents and `inf` are not numbers here.
fn split_unit(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    (!number.is_empty()).then_some((number, unit.trim_start()))
}

/// How many of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub u32);

impl Scalar for Count {
    const EXPECTED: &'static str = "a whole number from 0 to 2147483647";

    fn from_int(value: i64) -> Option<Count> {
        let value = Some(value).filter(|v| *v <= MAX_COUNT)?;
        value.try_into().ok().map(Count)
    }
}

impl From<Count> for u32 {
    fn from(count: Count) -> u32 {
        count.0
    }
}

impl From<Count> for usize {
    fn from(count: Count) -> usize {
        count.0 as usize
    }
}

/// A part of a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio(pub f64);

impl Scalar for Ratio {
    const EXPECTED: &'static str = "a number from 0 to 1";

    fn from_int(value: i64) -> Option<Ratio> {
        Ratio::from_float(value as f64)
    }

    fn from_float(value: f64) -> Option<Ratio> {
        (0.0..=1.0).contains(&value).then_some(Ratio(value))
    }
}

/// A TCP port; whether 0 has a meaning depends on the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port(pub u16);

impl Scalar for Port {
    const EXPECTED: &'static str = "a port number from 0 to 65535";

    fn from_int(value: i64) -> Option<Port> {
        value.try_into().ok().map(Port)
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> u16 {
        port.0
    }
}

/// Permission bits, written as an octal text: the number `777` would be decimal in TOML, and
/// nobody means that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl Scalar for FileMode {
    const EXPECTED: &'static str =
        "an octal file mode in quotes, from \"0000\" to \"0777\", such as \"0770\"";

    fn from_text(text: &str) -> Option<FileMode> {
        let digits = !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let mode = u32::from_str_radix(text, 8).ok()?;
        (digits && mode <= 0o777).then_some(FileMode(mode))
    }
}

impl From<FileMode> for u32 {
    fn from(mode: FileMode) -> u32 {
        mode.0
    }
}

/// Names: an array of texts, or one text with commas. Blanks around a name and empty names go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List(pub Vec<String>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List, D::Error> {
        struct ListVisitor;

        impl<'de> Visitor<'de> for ListVisitor {
            type Value = List;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a list such as [\"alice\", \"bob\"], or one text such as \"alice, bob\"",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<List, E> {
                Ok(List::from_names(text.split(',')))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<List, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element::<String>()? {
                    names.push(name);
                }
                Ok(List::from_names(names.iter().map(String::as_str)))
            }
        }
        deserializer.deserialize_any(ListVisitor)
    }
}

impl List {
    fn from_names<'a>(names: impl Iterator<Item = &'a str>) -> List {
        let names = names.map(str::trim).filter(|name| !name.is_empty());
        List(names.map(str::to_owned).collect())
    }
}

/// Gives an enum its spelling in the file, in both directions.
macro_rules! words {
    ($name:ident: $first:ident = $first_word:literal $(, $variant:ident = $word:literal)+ $(,)?) => {
        impl $name {
            /// The word for it in the file and in `SHOW CONFIG`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $name::$first => $first_word,
                    $($name::$variant => $word,)+
                }
            }
        }

        impl Scalar for $name {
            const EXPECTED: &'static str =
                concat!("one of \"", $first_word, "\"" $(, ", \"", $word, "\"")+);

            fn from_text(text: &str) -> Option<$name> {
                match text {
                    $first_word => Some($name::$first),
                    $($word => Some($name::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

words!(PoolMode: Session = "session", Transaction = "transaction", Statement = "statement");
words!(ListenChannels: Share = "share", Pin = "pin");
words!(SessionStatePolicy: Pin = "pin", Reject = "reject", Allow = "allow");
words!(Consistency: Bounded = "bounded", Strict = "strict");
words!(RowSecurity: Refuse = "refuse", Key = "key");
words!(Invalidation: Ttl = "ttl", Notify = "notify", Replication = "replication");
words!(
    Balance: RoundRobin = "round-robin",
    Disable = "disable",
    LeastOutstanding = "least-outstanding",
    RandomOfTwo = "random-of-two",
);
words!(Priority: Critical = "critical", Normal = "normal", Background = "background");
words!(FairBy: Nobody = "nobody", User = "user", ApplicationName = "application_name");
words!(OverRate: Wait = "wait", Refuse = "refuse");
words!(Role: Primary = "primary", Replica = "replica", Auto = "auto");
words!(
    Target: Any = "any",
    Primary = "primary",
    Replica = "replica",
    PreferReplica = "prefer-replica",
);
words!(Reads: Off = "off", Hint = "hint", Transaction = "transaction", Auto = "auto");
words!(ReadYourWrites: Off = "off", Client = "client", Application = "application");
words!(LogStyle: Text = "text", Json = "json", PgBouncer = "pgbouncer");
words!(
    Facility: Auth = "auth",
    Authpriv = "authpriv",
    Daemon = "daemon",
    User = "user",
    Local0 = "local0",
    Local1 = "local1",
    Local2 = "local2",
    Local3 = "local3",
    Local4 = "local4",
    Local5 = "local5",
    Local6 = "local6",
    Local7 = "local7",
);
words!(
    SslMode: Disable = "disable",
    Allow = "allow",
    Prefer = "prefer",
    Require = "require",
    VerifyCa = "verify-ca",
    VerifyFull = "verify-full",
);
words!(
    AuthType: Trust = "trust",
    Any = "any",
    Plain = "plain",
    Md5 = "md5",
    ScramSha256 = "scram-sha-256",
    Cert = "cert",
    Hba = "hba",
    Ldap = "ldap",
    Pam = "pam",
);

#[cfg(test)]
mod tests;
