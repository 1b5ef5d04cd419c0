//! The page itself: a few files, in the binary, that ask for nothing from anywhere else.

use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{Response, StatusCode};

use super::reply::{Body, whole};

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, kind and text.
const FILES: [(&str, &str, &str); 9] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("assets/page.html"),
    ),
    (
        "/page.css",
        "text/css; charset=utf-8",
        include_str!("assets/page.css"),
    ),
    ("/page.js", JAVASCRIPT, include_str!("assets/page.js")),
    ("/api.js", JAVASCRIPT, include_str!("assets/api.js")),
    ("/charts.js", JAVASCRIPT, include_str!("assets/charts.js")),
    ("/dialogs.js", JAVASCRIPT, include_str!("assets/dialogs.js")),
    ("/dom.js", JAVASCRIPT, include_str!("assets/dom.js")),
    ("/tables.js", JAVASCRIPT, include_str!("assets/tables.js")),
    (
        "/icon.svg",
        "image/svg+xml",
        include_str!("assets/icon.svg"),
    ),
];

/// The file at a path.
pub(super) fn file(path: &str) -> Option<Response<Body>> {
    let (_, kind, text) = FILES.iter().find(|(own, ..)| *own == path)?;
    let mut response = whole(StatusCode::OK, kind, Bytes::from_static(text.as_bytes()));
    // Another version may run the next time.
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_asks_nobody_else() {
        assert!(FILES.iter().map(|(.., text)| text.len()).sum::<usize>() < 60_000);
        for (path, _, text) in FILES {
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !elsewhere.contains("http://") && !elsewhere.contains("https://"),
                "{path}"
            );
        }
        // The policy forbids them.
        let (.., html) = FILES[0];
        for forbidden in ["<script>", "<style", "style=", " onclick", " onload"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }
}
