//! Numbers as people read them: short, and with their unit.

/// Of things: 950, 12.3k, 4.5M.
pub(super) fn count(n: f64) -> String {
    scaled(n, 1000.0, &["", "k", "M", "G", "T"])
}

/// Of bytes, in powers of 1024.
pub(super) fn bytes(n: f64) -> String {
    scaled(n, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

/// A duration.
pub(super) fn micros(n: f64) -> String {
    match n {
        n if n < 1000.0 => format!("{n:.0} µs"),
        n if n < 1e6 => format!("{} ms", digits(n / 1e3)),
        n if n < 120e6 => format!("{} s", digits(n / 1e6)),
        n => format!("{:.0} min", n / 60e6),
    }
}

fn scaled(n: f64, step: f64, units: &[&str]) -> String {
    let mut scaled = n;
    let mut unit = 0;
    while scaled >= step && unit + 1 < units.len() {
        scaled /= step;
        unit += 1;
    }
    match unit {
        0 => format!("{scaled:.0}{}", units[0]),
        _ => format!("{}{}", digits(scaled), units[unit]),
    }
}

/// Three of them.
fn digits(n: f64) -> String {
    match n {
        n if n < 10.0 => format!("{n:.2}"),
        n if n < 100.0 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(count(0.0), "0");
        assert_eq!(count(999.0), "999");
        assert_eq!(count(12_345.0), "12.3k");
        assert_eq!(bytes(512.0), "512 B");
        assert_eq!(bytes(3_670_016.0), "3.50 MiB");
        assert_eq!(micros(250.0), "250 µs");
        assert_eq!(micros(1234.0), "1.23 ms");
        assert_eq!(micros(61.5e6), "61.5 s");
        assert_eq!(micros(600e6), "10 min");
    }
}
