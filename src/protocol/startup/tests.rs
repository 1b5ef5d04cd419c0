use super::*;
use proptest::prelude::*;

fn bytes(code: u32, rest: &[u8]) -> Vec<u8> {
    let length = (8 + rest.len()) as u32;
    [&length.to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
}

fn parse(version: u32, rest: &[u8]) -> Result<Startup, StartupError> {
    match packet(&bytes(version, rest))? {
        Some((Packet::Startup(startup), _)) => Ok(startup),
        other => panic!("{other:?}"),
    }
}

const V3: u32 = 3 << 16;

#[test]
fn a_startup_message() {
    let s = parse(
        V3,
        b"user\0u\0database\0d\0options\0-c a=b\\ c --x-y=z -cq=\0TimeZone\0UTC\0\0",
    )
    .unwrap();
    assert_eq!((s.user.as_str(), s.database.as_str()), ("u", "d"));
    let parameters: Vec<_> = s.parameters.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(
        parameters,
        [("a", "b c"), ("x_y", "z"), ("q", ""), ("TimeZone", "UTC")]
    );
    assert_eq!((s.minor, s.negotiate), (0, None));
    assert_eq!(parse(V3, b"user\0u\0\0").unwrap().database, "u");
}

/// The parameters of a startup message for `u` with `rest` behind, as `name=value`.
fn parameters(rest: &[u8]) -> Result<Vec<String>, StartupError> {
    let s = parse(V3, &[b"user\0u\0", rest].concat())?;
    let pairs = s.parameters.iter();
    Ok(pairs.map(|(n, v)| format!("{n}={v}")).collect())
}

// What follows was measured on PostgreSQL 15.

#[test]
fn parameters_of_their_own_go_before_options() {
    let both = parameters(b"DateStyle\0SQL\0options\0-c datestyle=ISO\0\0");
    assert_eq!(both.unwrap(), ["datestyle=ISO", "DateStyle=SQL"]);
}

#[test]
fn the_last_options_replace_the_earlier_ones() {
    let twice = parameters(b"options\0-c a=b -x\0options\0-c c=d\0\0");
    assert_eq!(twice.unwrap(), ["c=d"]);
}

#[test]
fn an_empty_name_ends_the_packet() {
    assert_eq!(parameters(b"\0").unwrap(), [""; 0]);
    assert_eq!(parameters(b"\0\0a\0b\0\0"), Err(StartupError::Layout));
    assert_eq!(parameters(b"\0a"), Err(StartupError::Layout));
    assert_eq!(parameters(b"a\0"), Err(StartupError::Layout));
    assert_eq!(parameters(b"a\0b\0"), Err(StartupError::Layout));
}

#[test]
fn switches() {
    let options = |text: &str| parameters(&[b"options\0", text.as_bytes(), b"\0\0"].concat());
    for nothing in ["", "  ", "--", " -- "] {
        assert_eq!(options(nothing).unwrap(), [""; 0], "{nothing:?}");
    }
    assert_eq!(options("-c a=b --").unwrap(), ["a=b"]);
    assert_eq!(options(r"-ca=\ \\x --b-c=").unwrap(), [r"a= \x", "b_c="]);
    let refused = |text: &str, why: &str| {
        assert_eq!(options(text).unwrap_err().to_string(), why);
    };
    let invalid = "invalid command-line argument for server process:";
    refused("-- x", &format!("{invalid} x"));
    refused("x", &format!("{invalid} x"));
    refused("-c", &format!("{invalid} -c"));
    refused("-c geqo", "-c geqo requires a value");
    refused("--geqo", "--geqo requires a value");
}

#[test]
fn replication_is_a_boolean_or_database() {
    let wanted = |value: &str| {
        let packet = [b"user\0u\0replication\0", value.as_bytes(), b"\0\0"].concat();
        parse(V3, &packet).map(|s| s.replication)
    };
    for yes in ["1", "t", "TRUE", "y", "ye", "on", "On"] {
        assert_eq!(wanted(yes), Ok(Replication::Physical), "{yes}");
    }
    assert_eq!(wanted("database"), Ok(Replication::Logical));
    for no in ["0", "f", "False", "n", "no", "of", "OFF"] {
        assert_eq!(wanted(no), Ok(Replication::None), "{no}");
    }
    for odd in ["", "o", "Database", "2", "10", "yess", "data"] {
        let error = StartupError::Replication(odd.to_owned());
        assert_eq!(wanted(odd), Err(error), "{odd}");
    }
}

#[test]
fn versions() {
    let minor = |version| {
        let s = parse(version, b"user\0u\0\0").unwrap();
        (s.minor, s.negotiate.is_some())
    };
    assert_eq!(minor(V3), (0, false));
    assert_eq!(minor(V3 | 1), (0, true));
    assert_eq!(minor(V3 | 2), (2, false));
    assert_eq!(minor(V3 | 9999), (2, true));
    let s = parse(V3 | 2, b"user\0u\0_pq_.x\0on\0\0").unwrap();
    assert_eq!(s.negotiate, Some(vec!["_pq_.x".to_owned()]));
    assert!(s.parameters.is_empty());
    assert_eq!(
        parse(2 << 16, b"user\0u\0\0"),
        Err(StartupError::Version { major: 2, minor: 0 })
    );
}

#[test]
fn requests() {
    assert_eq!(packet(&bytes(SSL, b"")), Ok(Some((Packet::Ssl, 8))));
    assert_eq!(packet(&bytes(GSSENC, b"")), Ok(Some((Packet::GssEnc, 8))));
    let cancel = Packet::Cancel {
        pid: 7,
        secret: vec![9; 32],
    };
    let body = [&7i32.to_be_bytes()[..], &[9; 32]].concat();
    assert_eq!(packet(&bytes(CANCEL, &body)), Ok(Some((cancel, 44))));
    assert_eq!(packet(&bytes(CANCEL, b"123")), Err(StartupError::Length));
    assert_eq!(packet(&bytes(CANCEL, &[0; 300])), Err(StartupError::Length));
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(parse(V3, b"user\0u\0"), Err(StartupError::Layout));
    assert_eq!(parse(V3, b"database\0d\0\0"), Err(StartupError::NoUser));
    assert_eq!(parse(V3, b"user\0\xff\0\0"), Err(StartupError::Encoding));
    assert!(matches!(
        parse(V3, b"user\0u\0options\0-x\0\0"),
        Err(StartupError::Option(_))
    ));
    for length in [0u32, 3, 7, 10_001, 10 << 20, u32::MAX] {
        assert_eq!(packet(&length.to_be_bytes()), Err(StartupError::Length));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(rest in proptest::collection::vec(any::<u8>(), 0..200), code: u32) {
        let _ = packet(&bytes(code, &rest));
        let _ = packet(&bytes(V3, &rest));
        let _ = packet(&rest);
    }

    #[test]
    fn an_incomplete_packet_is_never_an_answer(cut in 0usize..40) {
        let whole = bytes(V3, b"user\0someone\0database\0somewhere\0\0");
        prop_assert_eq!(packet(&whole[..cut.min(whole.len() - 1)]), Ok(None));
    }
}
