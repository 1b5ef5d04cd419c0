//! `[sentry]` and `[traces]`.

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

use super::{Resolver, raw, set};
use crate::config::raw::SecretSource;
use crate::config::{Hidden, SentrySettings, TraceSettings};

/// Where OTLP's receivers take spans (OpenTelemetry, "OTLP Exporter Configuration").
const PATH: &str = "/v1/traces";

impl Resolver<'_, '_> {
    pub(super) fn sentry(&mut self, sentry: &mut SentrySettings, raw: raw::Sentry) {
        const KEY: [&str; 2] = ["sentry", "dsn"];
        set(&mut sentry.environment, raw.environment);
        let Some(dsn) = self.private(&KEY, raw.dsn) else {
            return;
        };
        match dsn.parse::<sentry::types::Dsn>() {
            Ok(_) => sentry.dsn = Some(Hidden::new(&dsn)),
            // The parser's words do not repeat the text.
            Err(error) => self.problems.add(&KEY, format!("not a DSN: {error}")),
        }
    }

    pub(super) fn traces(&mut self, traces: &mut TraceSettings, raw: raw::Traces) {
        const KEY: [&str; 2] = ["traces", "headers"];
        if let Some(endpoint) = raw.endpoint.filter(|text| !text.is_empty()) {
            match url(&endpoint) {
                Some(url) => traces.endpoint = Some(url),
                None => self.problems.add(
                    &["traces", "endpoint"],
                    "must be a URL such as \"http://127.0.0.1:4318\"",
                ),
            }
        }
        if let Some(text) = self.private(&KEY, raw.headers) {
            match headers(&text) {
                Some(headers) => traces.headers = headers,
                None => self.problems.add(
                    &KEY,
                    "must be \"name=value\", or several with commas between them",
                ),
            }
        }
        set(&mut traces.sample, raw.sample.map(|ratio| ratio.0));
        set(&mut traces.service_name, raw.service_name);
        if traces.service_name.is_empty() {
            self.problems
                .add(&["traces", "service_name"], "must not be empty");
        }
    }

    /// A text that may be kept elsewhere; an empty one is none.
    fn private(&mut self, key: &[&str], source: Option<SecretSource>) -> Option<String> {
        let text = self.secret_text(key, source?)?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }
}

/// With the path, if it has none.
fn url(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.host().filter(|host| is_http && !host.is_empty());
    host.map(|_| match uri.path() {
        "" | "/" => format!("{}{PATH}", text.trim_end_matches('/')),
        _ => text.to_owned(),
    })
}

/// As in `OTEL_EXPORTER_OTLP_HEADERS`.
fn headers(text: &str) -> Option<Vec<(String, Hidden)>> {
    let pairs = text.split(',').map(str::trim).filter(|p| !p.is_empty());
    let headers = pairs.map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        name.parse::<HeaderName>().ok()?;
        value.parse::<HeaderValue>().ok()?;
        Some((name.to_owned(), Hidden::new(value)))
    });
    headers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url() {
        let with_path = "https://collector.example/x/v1/traces";
        for (text, expected) in [
            (
                "http://127.0.0.1:4318",
                Some("http://127.0.0.1:4318/v1/traces"),
            ),
            ("http://[::1]:4318/", Some("http://[::1]:4318/v1/traces")),
            (with_path, Some(with_path)),
            ("127.0.0.1:4318", None),
            ("grpc://127.0.0.1:4317", None),
            ("http://", None),
            ("a b", None),
        ] {
            assert_eq!(url(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn headers_are_pairs() {
        let pairs = headers("authorization=Bearer a=b, x-y = z").unwrap();
        let shown: Vec<_> = pairs.iter().map(|(n, v)| (n.as_str(), v.show())).collect();
        assert_eq!(shown, [("authorization", "Bearer a=b"), ("x-y", "z")]);
        assert!(headers("a b=c").is_none() && headers("a").is_none());
        assert!(!format!("{pairs:?}").contains("Bearer"));
    }
}
