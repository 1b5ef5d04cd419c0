use super::*;

const NO_TYPES: &[u8] = b"\0\0";

#[test]
fn the_same_text_is_the_same_statement() {
    let registry = Registry::default();
    let a = registry.shared(true, b"select 1", NO_TYPES, 0).unwrap();
    let b = registry.shared(true, b"select 1", NO_TYPES, 0).unwrap();
    assert!(Arc::ptr_eq(&a, &b));
    for (query, types, env) in [
        (&b"select 2"[..], NO_TYPES, 0),
        (b"select 1", b"\0\x01\0\0\0\x17", 0),
        (b"select 1", NO_TYPES, 7),
    ] {
        let other = registry.shared(true, query, types, env).unwrap();
        assert_ne!(a.id, other.id);
        assert_ne!(a.name, other.name);
    }
}

#[test]
fn an_unnamed_text_is_shared_when_it_comes_again() {
    let registry = Registry::default();
    assert!(registry.shared(false, b"select 1", NO_TYPES, 0).is_none());
    let again = registry.shared(false, b"select 1", NO_TYPES, 0).unwrap();
    assert!(!again.name.is_empty());
    let private = registry.private(
        Source::Parse {
            query: b"x"[..].into(),
            types: NO_TYPES.into(),
        },
        false,
        Traits::default(),
    );
    assert!(private.name.is_empty());
}

#[test]
fn after_a_schema_change_the_text_is_prepared_afresh() {
    let registry = Registry::default();
    let old = registry
        .shared(true, b"select * from t", NO_TYPES, 0)
        .unwrap();
    registry.schema_changed();
    assert!(old.is_stale());
    let new = registry
        .shared(true, b"select * from t", NO_TYPES, 0)
        .unwrap();
    assert_ne!(old.id, new.id);
    new.retire();
    let newer = registry
        .shared(true, b"select * from t", NO_TYPES, 0)
        .unwrap();
    assert_ne!(new.id, newer.id);
}

#[test]
fn what_nobody_holds_is_forgotten() {
    let registry = Registry::default();
    for i in 0..10_000 {
        registry.shared(true, format!("select {i}").as_bytes(), NO_TYPES, 0);
    }
    assert!(registry.inner.lock().shared.len() <= 257);
    assert_eq!(registry.usage(), (0, 0));
}
