//! What a request says about where its sender thinks it is, and who has made it send it.
//!
//! Two tricks are played on browsers. A page of somebody else's sends requests here (CSRF): the
//! browser says so in `Origin` and `Sec-Fetch-Site`, and lets no page add a header of its own to a
//! request to another site. Or somebody's own name is made to point here (DNS rebinding): then `Host`
//! is that name. Pure.

use std::net::IpAddr;

use hyper::header::{HOST, HeaderMap, ORIGIN};

/// A header that only our own page sends; its value does not matter.
pub(super) const OWN: &str = "x-pgweir";

/// A request that a browser was, or could have been, tricked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Suspicion {
    #[error("the request names no host")]
    NoHost,
    #[error(
        "this page answers to IP addresses, to localhost and to what [http] names has; the request \
         names another host"
    )]
    OtherHost,
    #[error("the request comes from another site's page")]
    OtherSite,
    #[error("the request has no X-Pgweir header")]
    NotOwn,
}

/// What `Host` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// This machine, and no other.
    Loopback,
    Elsewhere,
}

/// Whether the request is for us, by its `Host`.
///
/// # Errors
/// [`Suspicion`].
pub(super) fn named(headers: &HeaderMap, names: &[String]) -> Result<Named, Suspicion> {
    let host = text(headers, HOST.as_str()).ok_or(Suspicion::NoHost)?;
    let name = without_port(host);
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok(match ip.to_canonical().is_loopback() {
            true => Named::Loopback,
            false => Named::Elsewhere,
        });
    }
    if name.eq_ignore_ascii_case("localhost") {
        return Ok(Named::Loopback);
    }
    match names.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        true => Ok(Named::Elsewhere),
        false => Err(Suspicion::OtherHost),
    }
}

/// Whether our own page, or no page at all, has made the browser ask.
///
/// # Errors
/// [`Suspicion::OtherSite`].
pub(super) fn same_site(headers: &HeaderMap) -> Result<(), Suspicion> {
    if let Some(site) = text(headers, "sec-fetch-site")
        && !matches!(site, "same-origin" | "none")
    {
        return Err(Suspicion::OtherSite);
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    // `null`, and what is no text, is nobody that we know.
    let origin = origin.to_str().ok().and_then(|o| o.split_once("://"));
    let same = origin.is_some_and(|(scheme, place)| {
        let host = text(headers, HOST.as_str()).unwrap_or_default();
        let port = match scheme {
            "https" => ":443",
            _ => ":80",
        };
        let plain = |place: &str| place.trim_end_matches(port).to_ascii_lowercase();
        plain(place) == plain(host)
    });
    match same {
        true => Ok(()),
        false => Err(Suspicion::OtherSite),
    }
}

/// For what changes something: a form on another page cannot send this.
///
/// # Errors
/// [`Suspicion`].
pub(super) fn own_page(headers: &HeaderMap) -> Result<(), Suspicion> {
    if !headers.contains_key(OWN) {
        return Err(Suspicion::NotOwn);
    }
    same_site(headers)
}

/// Whether a proxy has passed it on, so that its sender is not who it seems to come from.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    let marks = [
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-real-ip",
    ];
    marks.iter().any(|mark| headers.contains_key(*mark))
}

/// Whether it has come by TLS, to a proxy that says so.
pub(super) fn is_by_tls(headers: &HeaderMap) -> bool {
    text(headers, "x-forwarded-proto") == Some("https")
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// `[::1]:80`, `[::1]`, `1.2.3.4:80`, `name:80`, `name`.
fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(ip, _)| ip);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_addresses_and_known_names_are_ours() {
        let names = ["weir.example".to_owned()];
        let of = |host: &str| named(&headers(&[("host", host)]), &names);
        for host in [
            "127.0.0.1:9127",
            "127.8.9.1",
            "[::1]:9127",
            "localhost:1",
            "LocalHost",
        ] {
            assert_eq!(of(host), Ok(Named::Loopback), "{host}");
        }
        for host in [
            "10.0.0.1:9127",
            "[fe80::1]",
            "weir.example",
            "Weir.Example:80",
        ] {
            assert_eq!(of(host), Ok(Named::Elsewhere), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "[",
            "x",
        ] {
            assert_eq!(of(host), Err(Suspicion::OtherHost), "{host}");
        }
        assert_eq!(named(&HeaderMap::new(), &names), Err(Suspicion::NoHost));
    }

    #[test]
    fn other_sites_are_told_apart() {
        let of = |pairs: &[(&'static str, &str)]| same_site(&headers(pairs));
        let host = ("host", "127.0.0.1:9127");
        assert_eq!(of(&[host]), Ok(()));
        assert_eq!(of(&[host, ("origin", "http://127.0.0.1:9127")]), Ok(()));
        assert_eq!(of(&[("host", "w"), ("origin", "https://W:443")]), Ok(()));
        assert_eq!(of(&[host, ("sec-fetch-site", "same-origin")]), Ok(()));
        for other in [
            "http://127.0.0.1:9128",
            "http://localhost:9127",
            "http://evil.example",
            "null",
            "",
            "://",
        ] {
            let found = of(&[host, ("origin", other)]);
            assert_eq!(found, Err(Suspicion::OtherSite), "{other}");
        }
        for site in ["cross-site", "same-site", "x"] {
            let found = of(&[host, ("sec-fetch-site", site)]);
            assert_eq!(found, Err(Suspicion::OtherSite), "{site}");
        }
    }

    #[test]
    fn what_changes_something_needs_the_page_s_own_header() {
        let host = ("host", "127.0.0.1:9127");
        assert_eq!(own_page(&headers(&[host])), Err(Suspicion::NotOwn));
        assert_eq!(own_page(&headers(&[host, (OWN, "1")])), Ok(()));
        let foreign = headers(&[host, (OWN, "1"), ("origin", "http://evil.example")]);
        assert_eq!(own_page(&foreign), Err(Suspicion::OtherSite));
    }
}
