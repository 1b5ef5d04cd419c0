//! What a metric is: its name, its kind, its labels and what it means.

/// What Prometheus makes of it, and we.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    /// A number that only grows.
    Counter,
    /// As [`Kind::Counter`], with a fraction.
    Seconds,
    Histogram,
}

impl Kind {
    /// As the text format has it.
    pub fn prometheus(self) -> &'static str {
        match self {
            Kind::Gauge => "gauge",
            Kind::Counter | Kind::Seconds => "counter",
            Kind::Histogram => "histogram",
        }
    }
}

/// What values a label can have.
#[derive(Debug, Clone, Copy)]
pub enum Values {
    /// This, and nothing else.
    Closed(&'static [&'static str]),
    /// As many as there are of these; the text says where that ends.
    Open(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub struct LabelName {
    pub name: &'static str,
    pub values: Values,
}

pub(super) const fn closed(name: &'static str, values: &'static [&'static str]) -> LabelName {
    let values = Values::Closed(values);
    LabelName { name, values }
}

pub(super) const fn open(name: &'static str, what: &'static str) -> LabelName {
    let values = Values::Open(what);
    LabelName { name, values }
}

/// A metric with `N` labels. Only [`super::table`] makes them, so that there is none that it does not have.
#[derive(Debug)]
pub struct Family<const N: usize> {
    pub(super) name: &'static str,
    pub(super) labels: [LabelName; N],
}

impl<const N: usize> Family<N> {
    /// That a closed set is what it says is a mistake of ours if it is not.
    pub(super) fn check(&self, values: [&str; N]) {
        for (label, value) in self.labels.iter().zip(values) {
            if let Values::Closed(all) = label.values {
                debug_assert!(all.contains(&value), "{}: {value}", self.name);
            }
        }
    }
}

#[derive(Debug)]
pub struct Gauge<const N: usize>(pub(super) Family<N>);
#[derive(Debug)]
pub struct Counter<const N: usize>(pub(super) Family<N>);
#[derive(Debug)]
pub struct Seconds<const N: usize>(pub(super) Family<N>);
#[derive(Debug)]
pub struct Histogram<const N: usize>(pub(super) Family<N>);

/// A metric among others.
#[derive(Debug)]
pub struct Row {
    pub section: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [LabelName],
    pub help: &'static str,
}

/// Makes each metric a static, and a list of all of them.
macro_rules! families {
    ($($section:literal { $(
        $id:ident: $kind:ident $name:literal [$($label:expr),*] $help:literal;
    )+ })+) => {
        $($(
            pub(super) static $id: $kind<{ <[LabelName]>::len(&[$($label),*]) }> = $kind(Family {
                name: $name,
                labels: [$($label),*],
            });
        )+)+

        /// Every metric there is, in the order of the documentation.
        pub static ALL: &[Row] = &[$($(
            Row {
                section: $section,
                name: $name,
                kind: Kind::$kind,
                labels: &$id.0.labels,
                help: $help,
            },
        )+)+];
    };
}
pub(super) use families;
