//! What a statement changes, beside what it names.

use std::collections::{BTreeSet, HashMap};

use super::names::Found;
use super::{Catalog, Declared, Effect, Kind, Relation, SearchPath, Unknown};
use crate::cache::Oid;
use crate::cache::facts::{Action, Facts, Mentions, Name, Write};

/// Journal of `pg_trigger.tgtype`.
const INSERT: u16 = 4;
const DELETE: u16 = 8;
const UPDATE: u16 = 16;
const TRUNCATE: u16 = 32;

const ODD_DOMAIN: &str = "domain with a volatile constraint";

const OPAQUE: Unknown = Unknown::rows("opaque view");

/// What was found so far.
#[derive(Default)]
struct Touched {
    relations: BTreeSet<Oid>,
    /// What has been followed already.
    followed: BTreeSet<(Oid, u16)>,
    /// Written by declared functions: to be followed yet.
    declared: Vec<Name>,
}

fn events(action: Action) -> u16 {
    match action {
        Action::Insert => INSERT,
        Action::Update => UPDATE,
        Action::Delete => DELETE,
        Action::Merge => INSERT | UPDATE | DELETE,
        Action::Truncate => TRUNCATE,
        Action::Refresh => 0,
    }
}

impl Catalog {
    pub(super) fn writes(
        &self,
        writes: &[Write],
        mentions: &Mentions,
        path: &SearchPath,
        declared: &Declared,
    ) -> Effect {
        match self.touched(writes, mentions, path, declared) {
            Err(unknown) => Effect::Everything(unknown),
            Ok(touched) if touched.relations.is_empty() => Effect::Nothing,
            Ok(touched) => Effect::Writes(touched.relations.into_iter().collect()),
        }
    }

    /// What a statement does by what it mentions, which says of itself that it writes nothing.
    pub(super) fn runs(
        &self,
        facts: &Facts,
        mentions: &Mentions,
        path: &SearchPath,
        declared: &Declared,
    ) -> Effect {
        if self.converts_oddly(facts, mentions) {
            return Effect::Everything(self.functions.unknown(ODD_DOMAIN));
        }
        self.writes(&[], mentions, path, declared)
    }

    fn touched(
        &self,
        writes: &[Write],
        mentions: &Mentions,
        path: &SearchPath,
        declared: &Declared,
    ) -> Result<Touched, Unknown> {
        let mut touched = Touched::default();
        let nothing = writes.is_empty();
        self.check(mentions, path, declared, &mut touched, &mut BTreeSet::new())?;
        if !nothing && !self.odd_domains.is_empty() {
            return Err(self.functions.unknown(ODD_DOMAIN));
        }
        for write in writes {
            let target = self.target(&write.target, path)?;
            self.touch(target, events(write.action), declared, &mut touched)?;
        }
        while let Some(name) = touched.declared.pop() {
            let target = self.target(&name, path)?;
            self.touch(target, events(Action::Merge), declared, &mut touched)?;
        }
        Ok(touched)
    }

    fn target(&self, name: &Name, path: &SearchPath) -> Result<&Relation, Unknown> {
        match self.find(name, path) {
            Found::Relation(relation) => Ok(relation),
            Found::System => Err(Unknown::schema("system catalog")),
            Found::Temporary => Err(Unknown::rows("temporary table")),
            Found::Nothing => Err(Unknown::schema("unknown relation")),
            Found::Unknown => Err(Unknown::rows("unknown search path")),
        }
    }

    /// Functions that a statement calls, and those that views call which it mentions.
    fn check(
        &self,
        mentions: &Mentions,
        path: &SearchPath,
        declared: &Declared,
        touched: &mut Touched,
        views: &mut BTreeSet<Oid>,
    ) -> Result<(), Unknown> {
        self.functions
            .check_writes(mentions, declared, &mut touched.declared)?;
        let mentioned = mentions.identifiers.iter();
        for relation in mentioned.flat_map(|name| self.may_mean(name, path)) {
            self.hidden(&self.policy_calls, relation, declared, touched)?;
            if relation.kind == Kind::View && views.insert(relation.oid) {
                let Some(facts) = &relation.definition else {
                    return Err(OPAQUE);
                };
                let nowhere = SearchPath(Some([].into()));
                for statement in &facts.statements {
                    if self.converts_oddly(facts, &statement.mentions) {
                        return Err(self.functions.unknown(ODD_DOMAIN));
                    }
                    self.check(&statement.mentions, &nowhere, declared, touched, views)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a statement, with these facts of its text, makes values of a domain whose constraint
    /// runs what may write.
    fn converts_oddly(&self, facts: &Facts, mentions: &Mentions) -> bool {
        if self.odd_domains.is_empty() {
            return false;
        }
        let is_odd = |name: &Name| self.odd_domains.contains(&name.name);
        match &facts.read {
            Ok(read) => read.types.iter().any(is_odd),
            // Without a syntax tree it may be any name.
            Err(_) => mentions.identifiers.iter().any(is_odd),
        }
    }

    /// `events` happen to rows of a relation.
    fn touch(
        &self,
        relation: &Relation,
        mut events: u16,
        declared: &Declared,
        touched: &mut Touched,
    ) -> Result<(), Unknown> {
        if relation.kind == Kind::Partitioned && events & UPDATE != 0 {
            // A row that moves to another partition is deleted here and inserted there.
            events |= INSERT | DELETE;
        }
        if !touched.followed.insert((relation.oid, events)) {
            return Ok(());
        }
        if self.rules.contains(&relation.oid) {
            return Err(self.functions.unknown("rule"));
        }
        self.check_triggers(relation, events, declared, touched)?;
        // A view may have defaults of its own.
        self.hidden(&self.hidden_calls, relation, declared, touched)?;
        match relation.kind {
            Kind::Foreign => return Err(Unknown::rows("foreign table")),
            Kind::Sequence => return Err(Unknown::rows("sequence")),
            Kind::Materialized if relation.definition.is_none() => return Err(OPAQUE),
            Kind::View => return self.touch_through(relation, events, declared, touched),
            Kind::Materialized => {
                let facts = relation.definition.iter();
                for statement in facts.flat_map(|f| &f.statements) {
                    let nowhere = SearchPath(Some([].into()));
                    let views = &mut BTreeSet::new();
                    self.check(&statement.mentions, &nowhere, declared, touched, views)?;
                }
            }
            Kind::Table | Kind::Partitioned => {}
        }
        self.hidden(&self.policy_calls, relation, declared, touched)?;
        touched.relations.insert(relation.oid);
        for child in self.children.get(&relation.oid).into_iter().flatten() {
            if let Some(child) = self.relations.get(child) {
                self.touch(child, events, declared, touched)?;
            }
        }
        self.cascade(relation, events, declared, touched)
    }

    /// A view that can be written to has one base relation; which of those that it names is not
    /// worth finding out.
    fn touch_through(
        &self,
        view: &Relation,
        events: u16,
        declared: &Declared,
        touched: &mut Touched,
    ) -> Result<(), Unknown> {
        let bases = self.view_relations.get(&view.oid).ok_or(OPAQUE)?;
        for oid in bases {
            let base = self.relations.get(oid).ok_or(OPAQUE)?;
            self.touch(base, events, declared, touched)?;
        }
        Ok(())
    }

    fn check_triggers(
        &self,
        relation: &Relation,
        events: u16,
        declared: &Declared,
        touched: &mut Touched,
    ) -> Result<(), Unknown> {
        let triggers = self.triggers.get(&relation.oid).into_iter().flatten();
        let fitting: Vec<_> = triggers.filter(|t| t.events & events != 0).collect();
        if fitting.is_empty() {
            return Ok(());
        }
        if let Some(effects) = declared.table(relation) {
            touched.declared.extend(effects.writes.iter().cloned());
            return Ok(());
        }
        for trigger in fitting {
            self.functions.called_by_name(
                &trigger.function,
                "trigger",
                declared,
                &mut touched.declared,
            )?;
        }
        Ok(())
    }

    /// What foreign keys do to the tables that refer to this one.
    fn cascade(
        &self,
        relation: &Relation,
        events: u16,
        declared: &Declared,
        touched: &mut Touched,
    ) -> Result<(), Unknown> {
        for key in self.foreign_keys.get(&relation.oid).into_iter().flatten() {
            let mut follows = 0;
            if events & TRUNCATE != 0 {
                follows |= TRUNCATE;
            }
            if events & DELETE != 0 {
                follows |= match key.on_delete {
                    b'c' => DELETE,
                    b'n' | b'd' => UPDATE,
                    _ => 0,
                };
            }
            if events & UPDATE != 0 && matches!(key.on_update, b'c' | b'n' | b'd') {
                follows |= UPDATE;
            }
            if follows != 0 {
                let referencing = self.relations.get(&key.referencing);
                let referencing = referencing.ok_or(Unknown::schema("unknown relation"))?;
                self.touch(referencing, follows, declared, touched)?;
            }
        }
        Ok(())
    }
}

impl Catalog {
    /// Functions behind a relation's defaults, constraints or policies.
    fn hidden(
        &self,
        calls: &HashMap<Oid, Vec<Name>>,
        relation: &Relation,
        declared: &Declared,
        touched: &mut Touched,
    ) -> Result<(), Unknown> {
        let why = "default, constraint or policy with a volatile function";
        for function in calls.get(&relation.oid).into_iter().flatten() {
            self.functions
                .called_by_name(function, why, declared, &mut touched.declared)?;
        }
        Ok(())
    }
}
