//! What an admin can do from the page: what the console's commands of the same names do.

use std::net::SocketAddr;

use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::super::reply::{Body, json, problem};
use super::super::site::Site;
use crate::admin::command::{Command, Flush};
use crate::admin::console::{ConsoleUser, Giver};
use crate::admin::session::Answer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin::http) enum Action {
    Pause,
    Resume,
    Reconnect,
    Flush,
}

/// What it is done to.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin::http) struct On {
    /// `None`: all.
    database: Option<String>,
}

#[derive(Serialize)]
struct Done {
    done: String,
}

/// The last part of its path.
pub(in crate::admin::http) fn named(name: &str) -> Option<Action> {
    Some(match name {
        "pause" => Action::Pause,
        "resume" => Action::Resume,
        "reconnect" => Action::Reconnect,
        "flush" => Action::Flush,
        _ => return None,
    })
}

/// Does it, for somebody who may. What takes time, as until a pause is complete, is begun only.
pub(in crate::admin::http) fn answer(
    action: Action,
    on: On,
    peer: SocketAddr,
    site: &Site,
) -> Response<Body> {
    let user = ConsoleUser {
        name: "page".to_owned(),
        is_admin: true,
    };
    let command = match action {
        Action::Pause => Command::Pause(on.database),
        Action::Resume => Command::Resume(on.database),
        Action::Reconnect => Command::Reconnect(on.database),
        Action::Flush => Command::FlushCache(on.database.map_or(Flush::All, Flush::Database)),
    };
    match site.console.run(&user, &Giver::Page(peer), command) {
        Answer::Done(tag, _) => json(StatusCode::OK, &Done { done: tag.into() }),
        Answer::Wait(tag, _) => json(StatusCode::OK, &Done { done: tag.into() }),
        Answer::Error(_, message) => problem(StatusCode::CONFLICT, &message),
        Answer::Empty | Answer::Table(_) | Answer::Help => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "That has no such answer.",
        ),
    }
}
