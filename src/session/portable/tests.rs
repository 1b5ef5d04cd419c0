use super::*;
use crate::session::statement::{Source, Traits};
use crate::sql::{self, Class};

/// As it arrives in another process.
fn carried<T: serde::Serialize + serde::de::DeserializeOwned>(record: &T) -> T {
    rmp_serde::from_slice(&rmp_serde::to_vec_named(record).unwrap()).unwrap()
}

fn reported() -> Reported {
    Reported::new(vec![("TimeZone".into(), "UTC".into())])
}

/// A client with settings, a shared, a private and a special statement, and `EXECUTE`.
fn client(registry: &Registry) -> ClientState {
    let startup = Settings::default().with("application_name", "SET application_name TO 'a'");
    let mut state = ClientState::new(startup.clone(), reported());
    state.settings = startup.with(
        "search_path",
        "SELECT set_config('search_path', 'x', false)",
    );
    state.committed = state.settings.clone();
    let shared = registry.shared(true, b"select 1", b"\0\0", 7).unwrap();
    shared.prove();
    shared.note_shape(b"shape");
    state.set_statement(b"shared", Arc::clone(&shared));
    let Class::Special(effects) = sql::classify(b"set role none", true) else {
        panic!("SET is special");
    };
    let traits = Traits {
        effects: Some(effects.into()),
        needs: vec![shared],
        ..Traits::default()
    };
    let source = Source::Parse {
        query: b"set role none".as_slice().into(),
        types: b"\0\0".as_slice().into(),
    };
    state.set_statement(b"\xff special", registry.private(source, true, traits));
    let prepared = registry.sql(None, |ours| [b"prepare ", ours, b" as select 1"].concat());
    let traits = Traits {
        makes: Some(("made".to_owned(), prepared)),
        answer: Some("DEALLOCATE"),
        ..Traits::default()
    };
    let source = Source::Parse {
        query: b"prepare made as select 1".as_slice().into(),
        types: b"\0\0".as_slice().into(),
    };
    state.set_statement(b"", registry.private(source, false, traits));
    state.pins.insert(crate::session::pins::Pin::Listen);
    state
}

#[test]
fn a_client_is_the_same_afterwards() {
    let here = Registry::default();
    let before = client(&here);
    let record = carried(&Told::default().client(&before).unwrap());
    let (there, mut known) = (
        Registry::numbered_from(1 << 40, Arc::default()),
        Known::default(),
    );
    let after = known.client(record, &there).unwrap();
    // Taken down again it is the same, so nothing was lost.
    assert_eq!(
        Told::default().client(&before),
        Told::default().client(&after)
    );
    // Who parses the same text gets the same statement; what is made anew has another number.
    let again = there.shared(true, b"select 1", b"\0\0", 7).unwrap();
    assert!(Arc::ptr_eq(&again, after.statement(b"shared").unwrap()));
    assert!(again.is_proven() && again.has_known_shape());
    assert!(there.shared(true, b"select 2", b"\0\0", 7).unwrap().id >= 1 << 40);
}

#[test]
fn statements_are_told_of_once() {
    let here = Registry::default();
    let (first, second) = (client(&here), client(&here));
    let mut told = Told::default();
    let records = [&first, &second].map(|c| carried(&told.client(c).unwrap()));
    let (there, mut known) = (Registry::default(), Known::default());
    let [a, b] = records.map(|record| known.client(record, &there).unwrap());
    let of = |client: &ClientState| Arc::clone(client.statement(b"shared").unwrap());
    assert!(Arc::ptr_eq(&of(&a), &of(&b)));
    // Alike clients share settings, as they did before.
    assert!(a.settings.same(&b.settings));
    // A process that was not told of them cannot go on.
    let record = told.client(&second).unwrap();
    let lost = Known::default().client(record, &there);
    assert_eq!(lost.unwrap_err(), UnknownStatement);
}

#[test]
fn who_is_in_the_middle_of_something_stays() {
    let here = Registry::default();
    let mut state = client(&here);
    state.detached = crate::session::client::Detached::SkippingToSync;
    assert!(Told::default().client(&state).is_none());
    let mut server = ServerState::new(reported(), 10);
    server.status = b'T';
    assert!(Told::default().server(&server).is_none());
}

#[test]
fn a_server_connection_is_the_same_afterwards() {
    let here = Registry::default();
    let client = client(&here);
    let mut server = ServerState::new(reported(), 10);
    server.settings = Some(client.settings.clone());
    server.reported = server.reported.with("TimeZone", "CET");
    server.close_later.push(b"pgweir_9".as_slice().into());
    for name in [b"shared".as_slice(), b"\xff special"] {
        server.hold(client.statement(name).unwrap());
    }
    let mut told = Told::default();
    let (with_client, with_server) = (told.client(&client), told.server(&server));
    let (there, mut known) = (Registry::default(), Known::default());
    known
        .client(carried(&with_client.unwrap()), &there)
        .unwrap();
    let record = carried(&with_server.unwrap());
    let mut after = known.server(record, &there, 10).unwrap();
    assert_eq!(
        Told::default().server(&server),
        Told::default().server(&after)
    );
    assert!(after.holds(client.statement(b"shared").unwrap()));
    // Where fewer may be held, the rest is closed: what was used least.
    let record = carried(&Told::default().server(&server).unwrap());
    let after = known.server(record, &there, 1).unwrap();
    assert_eq!((after.prepared_count(), after.close_later.len()), (1, 2));
}
