use proptest::prelude::*;
use serde::de::IntoDeserializer;
use serde::de::value::Error;

use super::*;

fn text<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, Error> {
    T::deserialize(text.into_deserializer())
}

fn duration(value: &str) -> Option<Duration> {
    text::<Interval>(value).ok().map(Duration::from)
}

#[test]
fn durations_have_units() {
    for (value, millis) in [
        ("250ms", 250),
        ("30s", 30_000),
        ("5m", 300_000),
        ("5min", 300_000),
        ("1h", 3_600_000),
        ("1 d", 86_400_000),
        ("1.5h", 5_400_000),
        ("0s", 0),
    ] {
        assert_eq!(
            duration(value),
            Some(Duration::from_millis(millis)),
            "{value}"
        );
    }
    for wrong in [
        "", "5", "s", "-5s", "5 apples", "5S", "1e3s", "infs", "1.2.3s", "36501d", ".s",
    ] {
        assert_eq!(duration(wrong), None, "{wrong}");
    }
}

#[test]
fn durations_are_seconds_without_a_unit() {
    let int = |value: i64| {
        Interval::deserialize(IntoDeserializer::<Error>::into_deserializer(value))
            .ok()
            .map(Duration::from)
    };
    let float = |value: f64| {
        Interval::deserialize(IntoDeserializer::<Error>::into_deserializer(value))
            .ok()
            .map(Duration::from)
    };
    assert_eq!(int(30), Some(Duration::from_secs(30)));
    assert_eq!(float(0.25), Some(Duration::from_millis(250)));
    for wrong in [-1, i64::MIN, i64::MAX] {
        assert_eq!(int(wrong), None);
    }
    for wrong in [-0.5, f64::NAN, f64::INFINITY, 1e300] {
        assert_eq!(float(wrong), None);
    }
}

#[test]
fn a_wrong_duration_is_told_what_is_right() {
    let error = text::<Interval>("5 apples").unwrap_err().to_string();
    assert_eq!(
        error,
        "invalid value: string \"5 apples\", expected a duration from 0 to 36500 days: seconds as \
         a number, or a text with a unit such as \"250ms\", \"30s\", \"5m\", \"1h\" or \"1d\""
    );
}

#[test]
fn sizes_are_powers_of_1024() {
    let size = |value| text::<Size>(value).ok().map(|size| size.0);
    assert_eq!(size("512B"), Some(512));
    assert_eq!(size("64KiB"), Some(65_536));
    assert_eq!(size("64kB"), Some(65_536));
    assert_eq!(size("16MB"), Some(16 << 20));
    assert_eq!(size("2 GiB"), Some(2 << 30));
    for wrong in ["", "64", "KiB", "1.5MB", "-1KiB", "64K", "99999999999GiB"] {
        assert_eq!(size(wrong), None, "{wrong}");
    }
}

#[test]
fn file_modes_are_octal_texts() {
    let mode = |value| text::<FileMode>(value).ok().map(u32::from);
    assert_eq!(mode("0770"), Some(0o770));
    assert_eq!(mode("0"), Some(0));
    for wrong in ["", "0888", "1777", "+777", "rwx", "0o777"] {
        assert_eq!(mode(wrong), None, "{wrong}");
    }
}

#[test]
fn lists_are_arrays_or_comma_texts() {
    let list = text::<List>(" a, b,,c ").unwrap();
    assert_eq!(list.0, ["a", "b", "c"]);
    let array = vec!["a ", "", "b"];
    let list = List::deserialize(IntoDeserializer::<Error>::into_deserializer(array)).unwrap();
    assert_eq!(list.0, ["a", "b"]);
    assert_eq!(text::<List>("").unwrap().0, [""; 0]);
}

#[test]
fn words_read_as_they_are_written() {
    for word in ["trust", "any", "plain", "md5", "scram-sha-256", "cert"] {
        assert_eq!(text::<AuthType>(word).unwrap().as_str(), word);
    }
    let error = text::<PoolMode>("fast").unwrap_err().to_string();
    assert_eq!(
        error,
        "invalid value: string \"fast\", expected one of \"session\", \"transaction\", \"statement\""
    );
}

proptest! {
    #[test]
    fn any_text_is_a_value_or_an_error(value in "\\PC{0,20}") {
        drop(text::<Interval>(&value));
        drop(text::<Size>(&value));
        drop(text::<FileMode>(&value));
    }

    #[test]
    fn whole_durations_are_exact(number in 0_u32..100_000) {
        prop_assert_eq!(duration(&format!("{number}ms")), Some(Duration::from_millis(number.into())));
        prop_assert_eq!(duration(&format!("{number}s")), Some(Duration::from_secs(number.into())));
    }
}
