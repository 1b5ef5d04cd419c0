//! Against a model: a plain list of who listens to what.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Add(u8, u64),
    Settle(u8, u64),
    Refuse(u8, u64),
    Remove(u8, u64),
    RemoveAll(u64),
    Notified(u8),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let channel = || 0u8..4;
    let client = || 0u64..5;
    let step = prop_oneof![
        6 => (channel(), client()).prop_map(|(c, n)| Step::Add(c, n)),
        4 => (channel(), client()).prop_map(|(c, n)| Step::Settle(c, n)),
        2 => (channel(), client()).prop_map(|(c, n)| Step::Refuse(c, n)),
        4 => (channel(), client()).prop_map(|(c, n)| Step::Remove(c, n)),
        2 => client().prop_map(Step::RemoveAll),
        4 => channel().prop_map(Step::Notified),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 0..60)
}

fn name(channel: u8) -> Arc<str> {
    format!("c{channel}").into()
}

/// By channel and client; whether it is settled.
type Model = BTreeMap<(u8, u64), bool>;

fn listens(model: &Model, channel: u8) -> Vec<u64> {
    let members = model.keys().filter(|(c, _)| *c == channel);
    members.map(|(_, client)| *client).collect()
}

fn take(subscriptions: &mut Subscriptions<u64>, model: &mut Model, step: &Step) {
    match *step {
        Step::Add(channel, client) => {
            let new = !model.contains_key(&(channel, client));
            assert_eq!(subscriptions.add(&name(channel), client, &client), new);
            model.entry((channel, client)).or_insert(false);
        }
        Step::Settle(channel, client) => {
            subscriptions.settle(&name(channel), client);
            model.entry((channel, client)).and_modify(|s| *s = true);
        }
        Step::Refuse(channel, client) => {
            let goes = model.get(&(channel, client)) == Some(&false);
            let last = goes && listens(model, channel).len() == 1;
            assert_eq!(subscriptions.refuse(&name(channel), client), last);
            if goes {
                model.remove(&(channel, client));
            }
        }
        Step::Remove(channel, client) => {
            let was = model.remove(&(channel, client)).is_some();
            let last = was && listens(model, channel).is_empty();
            assert_eq!(subscriptions.remove(&name(channel), client), last);
        }
        Step::RemoveAll(client) => {
            let before = model.clone();
            model.retain(|(_, c), _| *c != client);
            let orphaned =
                |c: &u8| listens(&before, *c) == [client] && listens(model, *c).is_empty();
            let expected: Vec<_> = (0..4).filter(orphaned).map(name).collect();
            assert_eq!(subscriptions.remove_all(client), expected);
        }
        Step::Notified(channel) => {
            let name = name(channel);
            let heard = subscriptions.notified(&name);
            let mut heard: Vec<u64> = heard.into_iter().flat_map(|(_, m)| m.copied()).collect();
            heard.sort_unstable();
            assert_eq!(heard, listens(model, channel));
        }
        Step::Clear => {
            let mut told = subscriptions.clear();
            told.sort_unstable();
            let settled = model.iter().filter(|(_, settled)| **settled);
            let mut expected: Vec<u64> = settled.map(|((_, client), _)| *client).collect();
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(told, expected);
            model.clear();
        }
    }
}

proptest! {
    #[test]
    fn it_is_what_a_plain_list_would_be(steps in steps()) {
        let (mut subscriptions, mut model) = (Subscriptions::default(), Model::new());
        for step in &steps {
            take(&mut subscriptions, &mut model, step);
            let clients: BTreeSet<u64> = model.keys().map(|(_, client)| *client).collect();
            assert_eq!(subscriptions.clients(), clients.len());
            assert_eq!(subscriptions.is_empty(), clients.is_empty());
            for client in 0..5 {
                let own = model.keys().filter(|(_, c)| *c == client).count();
                assert_eq!(subscriptions.count(client), own);
            }
            let shown = subscriptions.rows();
            let shown: Vec<_> = shown.into_iter().map(|r| (r.channel, r.clients)).collect();
            let expected = (0..4).map(|c| (name(c), listens(&model, c).len()));
            let expected: Vec<_> = expected.filter(|(_, n)| *n > 0).collect();
            assert_eq!(shown.len(), subscriptions.channels());
            assert_eq!(shown, expected);
        }
    }
}
