//! Asking a directory: a simple bind with the user's password (PostgreSQL docs, "LDAP
//! Authentication"). TLS trusts the certificates that the system trusts.

use std::future::Future;
use std::time::Duration;

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, SearchEntry, SearchOptions};

use crate::auth::ldap::{LdapOptions, Scope, Search, Way};

/// For one server to answer the connection; then the next is tried.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// For all of it, where `client_login_timeout` allows more.
const LIMIT: Duration = Duration::from_secs(30);
/// The result code for a wrong password, or a name that is not there (RFC 4511, 4.1.9).
const INVALID_CREDENTIALS: u32 = 49;

/// # Errors
/// Nobody could tell, for this reason.
pub(super) async fn accepts(
    options: &LdapOptions,
    user: &str,
    password: &str,
) -> Result<bool, String> {
    let judged = tokio::time::timeout(LIMIT, judge(options, user, password)).await;
    judged.unwrap_or_else(|_| Err("the directory takes too long".to_owned()))
}

async fn judge(options: &LdapOptions, user: &str, password: &str) -> Result<bool, String> {
    let name = match &options.way {
        Way::Name { prefix, suffix } => format!("{prefix}{user}{suffix}"),
        Way::Search(search) => match find(options, search, user).await? {
            Some(name) => name,
            None => return Ok(false),
        },
    };
    // A connection of its own: a bind that fails leaves nobody on it.
    let (connection, mut ldap) = connect(options).await?;
    driven(connection, async {
        let bound = ldap.simple_bind(&name, password).await.map_err(say)?;
        match bound.rc {
            0 => Ok(true),
            INVALID_CREDENTIALS => Ok(false),
            code => Err(format!("bind: result code {code}")),
        }
    })
    .await
}

/// The name of the user's entry, if there is exactly one.
async fn find(
    options: &LdapOptions,
    search: &Search,
    user: &str,
) -> Result<Option<String>, String> {
    let Some(filter) = search.filter(user) else {
        tracing::debug!("a user name that would mean something in an LDAP filter is refused");
        return Ok(None);
    };
    let (connection, mut ldap) = connect(options).await?;
    driven(connection, async {
        let bound = ldap.simple_bind(&search.bind_name, &search.bind_password);
        let bound = bound.await.map_err(say)?;
        if bound.rc != 0 {
            return Err(format!("bind as ldapbinddn: result code {}", bound.rc));
        }
        only_one(&mut ldap, search, &filter).await
    })
    .await
}

async fn only_one(
    ldap: &mut Ldap,
    search: &Search,
    filter: &str,
) -> Result<Option<String>, String> {
    let scope = match search.scope {
        Scope::Base => ldap3::Scope::Base,
        Scope::One => ldap3::Scope::OneLevel,
        Scope::Sub => ldap3::Scope::Subtree,
    };
    // A second one is as good as a thousand.
    ldap.with_search_options(SearchOptions::new().sizelimit(2));
    let attributes = vec![search.attribute()];
    let mut found = ldap
        .streaming_search(&search.base, scope, filter, attributes)
        .await
        .map_err(say)?;
    let mut names = Vec::new();
    while names.len() < 2
        && let Some(entry) = found.next().await.map_err(say)?
    {
        if !entry.is_ref() && !entry.is_intermediate() {
            names.push(SearchEntry::construct(entry).dn);
        }
    }
    if names.len() > 1 {
        tracing::debug!("the LDAP search finds more than one entry");
        return Ok(None);
    }
    match found.finish().await.rc {
        0 => Ok(names.pop()),
        code => Err(format!("search: result code {code}")),
    }
}

/// To the first server that can be connected to.
async fn connect(options: &LdapOptions) -> Result<(LdapConnAsync, Ldap), String> {
    let mut why = "no server".to_owned();
    for url in options.urls() {
        let settings = LdapConnSettings::new()
            .set_conn_timeout(CONNECT_LIMIT)
            .set_starttls(options.start_tls);
        match LdapConnAsync::with_settings(settings, &url).await {
            Ok(pair) => return Ok(pair),
            Err(error) => why = format!("{url}: {}", say(error)),
        }
    }
    Err(why)
}

/// Runs `step`, for which the connection must be run, too. Dropped, it closes the connection.
async fn driven<T>(
    connection: LdapConnAsync,
    step: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    tokio::select! {
        outcome = step => outcome,
        _ = connection.drive() => Err("the connection was lost".to_owned()),
    }
}

/// Without what the directory says about names.
fn say(error: LdapError) -> String {
    match error {
        LdapError::LdapResult { result } => format!("result code {}", result.rc),
        other => other.to_string(),
    }
}
