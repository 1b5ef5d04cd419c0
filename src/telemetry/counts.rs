//! Counters by a label that has a closed set of values.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// What can be the value of a label.
pub trait Label: Copy {
    /// All values there are.
    const LABELS: &'static [&'static str];

    /// The place among [`Label::LABELS`].
    fn index(self) -> usize;
}

/// An enum whose variants are a label's values.
macro_rules! labels {
    ($(#[$attribute:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $crate::telemetry::counts::Label for $name {
            const LABELS: &'static [&'static str] = &[$($label),+];

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use labels;

/// One counter for each value. Of what is rare, or counted where no other thread counts.
#[derive(Debug)]
pub struct Counts<L> {
    counts: Box<[AtomicU64]>,
    label: PhantomData<L>,
}

impl<L: Label> Default for Counts<L> {
    fn default() -> Counts<L> {
        Counts {
            counts: L::LABELS.iter().map(|_| AtomicU64::new(0)).collect(),
            label: PhantomData,
        }
    }
}

impl<L: Label> Counts<L> {
    pub fn count(&self, value: L) {
        self.counts[value.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// In the order of [`Label::LABELS`].
    pub fn all(&self) -> impl Iterator<Item = u64> {
        self.counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    labels! {
        Fruit {
            Apple = "apple",
            Pear = "pear",
        }
    }

    #[test]
    fn each_value_has_its_own() {
        let counts = Counts::default();
        counts.count(Fruit::Pear);
        counts.count(Fruit::Apple);
        counts.count(Fruit::Pear);
        let all: Vec<_> = Fruit::LABELS.iter().copied().zip(counts.all()).collect();
        assert_eq!(all, [("apple", 1), ("pear", 2)]);
    }
}
