use proptest::prelude::*;

use super::*;

/// Reads as a socket would be read: no more than is asked for. Gives the result and what is left.
fn read(bytes: &[u8]) -> (Option<Result<Option<SocketAddr>, ProxyError>>, &[u8]) {
    let mut have = 0;
    loop {
        match step(&bytes[..have]) {
            Ok(Step::More(more)) => {
                assert!(more > 0 && have + more <= BINARY_MAX);
                if have + more > bytes.len() {
                    return (None, &bytes[have..]);
                }
                have += more;
            }
            Ok(Step::Done(named)) => return (Some(Ok(named)), &bytes[have..]),
            Err(error) => return (Some(Err(error)), &bytes[have..]),
        }
    }
}

#[track_caller]
fn names(header: &[u8], expected: Option<&str>) {
    let bytes = [header, b"\0\0\0\x08rest"].concat();
    let (named, rest) = read(&bytes);
    assert_eq!(named, Some(Ok(expected.map(|a| a.parse().unwrap()))));
    assert_eq!(rest, b"\0\0\0\x08rest", "nothing behind it is taken");
}

#[track_caller]
fn fails(bytes: &[u8], error: ProxyError) {
    assert_eq!(read(bytes).0, Some(Err(error)), "{}", bytes.escape_ascii());
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[0x20 | command, family], &length, body].concat()
}

#[test]
fn lines() {
    names(
        b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 5432\r\n",
        Some("192.0.2.7:56324"),
    );
    names(
        b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n",
        Some("[2001:db8::7]:1"),
    );
    names(
        b"PROXY TCP6 ::ffff:192.0.2.7 ::1 0 0\r\n",
        Some("192.0.2.7:0"),
    );
    names(b"PROXY UNKNOWN\r\n", None);
    names(b"PROXY UNKNOWN ffff::1 nonsense\r\n", None);
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_MAX - 16));
    names(longest.as_bytes(), None);
    let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_MAX - 15));
    fails(longer.as_bytes(), ProxyError::Malformed);
    for wrong in [
        "PROXY TCP4 192.0.2.7 10.0.0.1 56324",
        "PROXY TCP4 192.0.2.7 10.0.0.1 56324 5432 6",
        "PROXY TCP4 192.0.2.7  10.0.0.1 56324 5432",
        "PROXY TCP4 192.0.2.7 10.0.0.1 56324 65536",
        "PROXY TCP4 192.0.2.7 10.0.0.1 056324 5432",
        "PROXY TCP4 192.0.2.7 10.0.0.1 +1 5432",
        "PROXY TCP4 ::1 ::1 1 1",
        "PROXY TCP6 192.0.2.7 10.0.0.1 1 1",
        "PROXY TCP5 192.0.2.7 10.0.0.1 1 1",
        "PROXY tcp4 192.0.2.7 10.0.0.1 1 1",
        "PROXY \u{e4}\u{e4}",
        "PROXY \n\n\n",
    ] {
        fails(format!("{wrong}\r\n").as_bytes(), ProxyError::Malformed);
    }
    fails(b"PROXY \xff\xff\r\n", ProxyError::Malformed);
}

#[test]
fn binary_headers() {
    let four = b"\xc0\x00\x02\x07\x0a\x00\x00\x01\xdc\x04\x15\x38";
    names(&v2(1, 0x11, four), Some("192.0.2.7:56324"));
    let six = [
        &[0x20, 1, 0xd, 0xb8][..],
        &[0; 11],
        &[7],
        &[0; 16],
        b"\0\x01\x15\x38",
    ]
    .concat();
    names(&v2(1, 0x21, &six), Some("[2001:db8::7]:1"));
    let mapped = [
        &[0; 10][..],
        b"\xff\xff\xc0\x00\x02\x07",
        &[0; 16],
        b"\0\x01\x15\x38",
    ]
    .concat();
    names(&v2(1, 0x21, &mapped), Some("192.0.2.7:1"));
    // Extensions (here a NOOP) are passed over.
    names(
        &v2(1, 0x11, &[&four[..], b"\x04\0\x01x"].concat()),
        Some("192.0.2.7:56324"),
    );
    names(
        &v2(
            1,
            0x11,
            &[&four[..], &[0; BINARY_MAX - FIXED - 12]].concat(),
        ),
        Some("192.0.2.7:56324"),
    );
    // No address: a health check, an unspecified family, a Unix socket.
    names(&v2(0, 0, b""), None);
    names(&v2(0, 0x11, four), None);
    names(&v2(1, 0, b""), None);
    names(&v2(1, 0x31, &[b'x'; 216]), None);
    // Too short for its family, datagrams, an unknown command, another version.
    fails(&v2(1, 0x11, &four[..11]), ProxyError::Malformed);
    fails(&v2(1, 0x21, &six[..35]), ProxyError::Malformed);
    fails(&v2(1, 0x12, four), ProxyError::Malformed);
    fails(&v2(2, 0x11, four), ProxyError::Malformed);
    let mut other = v2(1, 0x11, four);
    other[12] = 0x11;
    fails(&other, ProxyError::Malformed);
    let mut other = v2(1, 0x11, four);
    other[11] = b'x';
    fails(&other, ProxyError::Malformed);
    fails(
        &v2(1, 0x11, &[0; BINARY_MAX - FIXED + 1]),
        ProxyError::TooLong,
    );
}

#[test]
fn what_clients_say_themselves_is_no_header() {
    for packet in [
        &b"\0\0\0\x08\x04\xd2\x16\x2f"[..],
        b"\0\0\0\x29\0\x03\0\0user",
        b"\x16\x03\x01\x02\0\x01\0\x01",
        b"GET / HTTP/1.1\r\n",
        b"PROXYING",
    ] {
        fails(packet, ProxyError::Missing);
    }
}

proptest! {
    /// Whatever comes, it is decided within the bound, and without a panic (which `read` asserts).
    #[test]
    fn garbage_is_decided(
        start in prop_oneof![Just(&b"PROXY "[..]), Just(&SIGNATURE[..]), Just(&b""[..])],
        rest in prop::collection::vec(any::<u8>(), 0..700),
    ) {
        let bytes = [start, &rest].concat();
        let (outcome, _) = read(&bytes);
        prop_assert!(outcome.is_some() || bytes.len() < BINARY_MAX);
    }

    #[test]
    fn addresses_come_out_as_they_went_in(ip in any::<IpAddr>(), port in any::<u16>()) {
        let address = SocketAddr::new(ip, port);
        let expected = Some(Ok(Some(SocketAddr::new(ip.to_canonical(), port))));
        let (word, family, octets) = match ip {
            IpAddr::V4(ip) => ("TCP4", 0x11, ip.octets().to_vec()),
            IpAddr::V6(ip) => ("TCP6", 0x21, ip.octets().to_vec()),
        };
        let text = format!("PROXY {word} {ip} {ip} {port} {port}\r\n");
        prop_assert_eq!(read(text.as_bytes()).0, expected, "{}", address);
        let ports = [port.to_be_bytes(), port.to_be_bytes()].concat();
        let body = [&octets[..], &octets, &ports].concat();
        prop_assert_eq!(read(&v2(1, family, &body)).0, expected);
    }
}
