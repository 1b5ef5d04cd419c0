//! What a stream of logical replication says (PostgreSQL docs, "Streaming Replication Protocol" and
//! "Logical Replication Message Formats", protocol version 1), as far as the cache wants to know it:
//! which relations have changed. The rows themselves are not looked at.

use bytes::{BufMut as _, BytesMut};

use crate::cache::Oid;
use crate::server::connect::wire::{take_cstr, take_u32};

/// A position in the write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Lsn(pub u64);

/// One message within CopyData.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// Everything before this position has been sent.
    Alive {
        sent: Lsn,
        wants_answer: bool,
    },
    Change(Change<'a>),
}

/// One message of the plug-in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    Begin {
        xid: u32,
    },
    /// The transaction's changes have all been told.
    Commit,
    /// A relation is described: for the first time, or because it may look otherwise now.
    Relation {
        oid: Oid,
        description: &'a [u8],
    },
    /// A row of it is another one.
    Row(Oid),
    Truncate(Vec<Oid>),
    /// What somebody has written into the log for us.
    Message {
        prefix: &'a [u8],
    },
    /// Origins and types.
    Other,
}

/// Takes apart what is in a CopyData message, of which the end may be missing; `None` if it is not
/// understood.
pub(super) fn said(body: &[u8]) -> Option<Said<'_>> {
    match body.split_first()? {
        (b'k', rest) => {
            let (sent, rest) = take_u64(rest)?;
            let (_clock, rest) = take_u64(rest)?;
            Some(Said::Alive {
                sent: Lsn(sent),
                wants_answer: *rest.first()? != 0,
            })
        }
        (b'w', rest) => {
            // Start and end of the log, and the clock.
            let (_, message) = rest.split_at_checked(24)?;
            change(message).map(Said::Change)
        }
        _ => None,
    }
}

fn change(message: &[u8]) -> Option<Change<'_>> {
    let (tag, rest) = message.split_first()?;
    Some(match tag {
        b'B' => {
            // Its position and its time.
            let (_, rest) = rest.split_at_checked(16)?;
            let (xid, _) = take_u32(rest)?;
            Change::Begin { xid }
        }
        b'C' => Change::Commit,
        b'R' => {
            let (oid, description) = take_u32(rest)?;
            Change::Relation { oid, description }
        }
        b'I' | b'U' | b'D' => Change::Row(take_u32(rest)?.0),
        b'T' => {
            let (count, rest) = take_u32(rest)?;
            let (_options, mut rest) = rest.split_first()?;
            let mut oids = Vec::new();
            for _ in 0..count {
                let (oid, after) = take_u32(rest)?;
                oids.push(oid);
                rest = after;
            }
            Change::Truncate(oids)
        }
        b'M' => {
            let (_flags, rest) = rest.split_first()?;
            let (_at, rest) = take_u64(rest)?;
            Change::Message {
                prefix: take_cstr(rest)?.0,
            }
        }
        b'O' | b'Y' => Change::Other,
        _ => return None,
    })
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// A Standby status update in CopyData: everything up to `position` need not be kept for us.
pub(super) fn status(position: Lsn, wants_answer: bool) -> BytesMut {
    let mut out = BytesMut::with_capacity(39);
    out.put_u8(b'd');
    out.put_u32(38);
    out.put_u8(b'r');
    for _ in ["written", "flushed", "applied"] {
        out.put_u64(position.0);
    }
    // Nobody looks at our clock.
    out.put_u64(0);
    out.put_u8(u8::from(wants_answer));
    out
}

/// Bytes of a page of the log, and of the headers that pages begin with (`XLogPageHeaderData`,
/// which is longer on the first page of a segment).
const PAGE: u64 = 8192;
const HEADERS: [u64; 2] = [24, 40];

impl Lsn {
    /// `16/B374D848`.
    pub fn parse(text: &str) -> Option<Lsn> {
        let (high, low) = text.split_once('/')?;
        let half = |text: &str| u32::from_str_radix(text, 16).ok().map(u64::from);
        Some(Lsn(half(high)? << 32 | half(low)?))
    }

    /// Where the record before the one that would be written here ends: a position at the head of a
    /// page counts the page's header, but no sender comes there before there is a record.
    pub fn end_of_records(self) -> Lsn {
        let in_page = self.0 % PAGE;
        match HEADERS.contains(&in_page) {
            true => Lsn(self.0 - in_page),
            false => self,
        }
    }
}

/// Which transactions were over at a moment (PostgreSQL docs, "pg_snapshot"), by the lower half of
/// their numbers, which is all that pgoutput tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The first that had not begun.
    end: u32,
    running: Vec<u32>,
}

impl Snapshot {
    /// `10:20:10,14,15`.
    pub fn parse(text: &str) -> Option<Snapshot> {
        let mut parts = text.splitn(3, ':');
        let number = |text: &str| text.parse::<u64>().ok().map(|n| n as u32);
        let _first = number(parts.next()?)?;
        let end = number(parts.next()?)?;
        let running = parts.next()?.split(',').filter(|t| !t.is_empty());
        Some(Snapshot {
            end,
            running: running.map(number).collect::<Option<_>>()?,
        })
    }

    /// Whether a transaction that has committed was visible to everybody.
    pub fn is_over(&self, xid: u32) -> bool {
        // Numbers go round; any two that are alive are less than half a round apart.
        let began = (xid.wrapping_sub(self.end) as i32) < 0;
        began && !self.running.contains(&xid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn w(message: &[u8]) -> Vec<u8> {
        [b"w".as_slice(), &[0; 24], message].concat()
    }

    #[test]
    fn messages_are_understood() {
        let alive = [b"k".as_slice(), &9u64.to_be_bytes(), &[0; 8], &[1]].concat();
        let expected = Said::Alive {
            sent: Lsn(9),
            wants_answer: true,
        };
        assert_eq!(said(&alive), Some(expected));
        let changes: [(&[u8], Change<'_>); 8] = [
            (
                b"B\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02",
                Change::Begin { xid: 258 },
            ),
            (b"C\0", Change::Commit),
            (b"I\0\0\0\x05N", Change::Row(5)),
            (b"U\0\0\0\x06N", Change::Row(6)),
            (b"D\0\0\0\x07K", Change::Row(7)),
            (
                b"R\0\0\0\x05public\0t\0",
                Change::Relation {
                    oid: 5,
                    description: b"public\0t\0",
                },
            ),
            (
                b"T\0\0\0\x02\x01\0\0\0\x05\0\0\0\x06",
                Change::Truncate(vec![5, 6]),
            ),
            (
                b"M\x01\0\0\0\0\0\0\0\0pgweir\0\0\0\0\x01s",
                Change::Message { prefix: b"pgweir" },
            ),
        ];
        for (message, expected) in changes {
            assert_eq!(said(&w(message)), Some(Said::Change(expected)));
        }
        // A row's values, and half a list of relations.
        assert_eq!(said(&w(b"T\0\0\0\x02\x01\0\0\0\x05")), None);
        assert_eq!(said(b"x"), None);
    }

    #[test]
    fn positions() {
        assert_eq!(Lsn::parse("16/B374D848"), Some(Lsn(0x16_B374_D848)));
        assert_eq!(Lsn::parse("0/0"), Some(Lsn(0)));
        for no in ["", "0", "/", "x/y", "1/123456789"] {
            assert_eq!(Lsn::parse(no), None, "{no}");
        }
        assert_eq!(Lsn(8192 * 5 + 24).end_of_records(), Lsn(8192 * 5));
        assert_eq!(Lsn(8192 * 5 + 40).end_of_records(), Lsn(8192 * 5));
        assert_eq!(Lsn(8192 * 5 + 48).end_of_records(), Lsn(8192 * 5 + 48));
    }

    #[test]
    fn snapshots_tell_who_is_done() {
        let snapshot = Snapshot::parse("10:20:10,14").unwrap();
        let over: Vec<u32> = (8..23).filter(|x| snapshot.is_over(*x)).collect();
        assert_eq!(over, [8, 9, 11, 12, 13, 15, 16, 17, 18, 19]);
        assert!(Snapshot::parse("7:7:").unwrap().is_over(6));
        // Number 3 of the second round, and the last of the first.
        let round = Snapshot::parse("4294967300:4294967300:").unwrap();
        assert!(round.is_over(3) && round.is_over(u32::MAX) && !round.is_over(4));
        for no in ["", "1", "1:2", "a:2:", "1:2:x"] {
            assert_eq!(Snapshot::parse(no), None, "{no}");
        }
    }

    #[test]
    fn a_status_is_a_whole_message() {
        let status = status(Lsn(0x0102), true);
        assert_eq!(status.len(), 1 + 38);
        assert_eq!(&status[..6], b"d\0\0\0\x26r");
        assert_eq!(&status[6..14], &0x0102u64.to_be_bytes());
        assert_eq!(status[38], 1);
    }

    proptest! {
        #[test]
        fn nothing_panics(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = said(&body);
            let _ = said(&w(&body));
        }
    }
}
