//! Lines of a file, in two bits each.

use std::collections::BTreeMap;

use crate::verdict::Count;

/// Lines in groups of 64: which of them could be covered, and which were.
#[derive(Debug, Default)]
pub(super) struct LineSet {
    groups: BTreeMap<u32, Group>,
    /// The group in hand, since lines come mostly in order.
    at: u32,
    group: Group,
}

#[derive(Debug, Default, Clone, Copy)]
struct Group {
    known: u64,
    covered: u64,
}

impl LineSet {
    pub(super) fn insert(&mut self, line: u32, covered: bool) {
        if line >> 6 != self.at {
            self.put_down();
            self.at = line >> 6;
        }
        let bit = 1 << (line & 63);
        self.group.known |= bit;
        self.group.covered |= if covered { bit } else { 0 };
    }

    pub(super) fn remove(&mut self, line: u32) {
        self.put_down();
        if let Some(group) = self.groups.get_mut(&(line >> 6)) {
            group.known &= !(1 << (line & 63));
            group.covered &= group.known;
        }
    }

    fn put_down(&mut self) {
        let group = std::mem::take(&mut self.group);
        if group.known != 0 {
            let kept = self.groups.entry(self.at).or_default();
            kept.known |= group.known;
            kept.covered |= group.covered;
        }
    }

    fn group(&self, at: u32) -> Group {
        let kept = self.groups.get(&at).copied().unwrap_or_default();
        if at == self.at {
            Group { known: kept.known | self.group.known, covered: kept.covered | self.group.covered }
        } else {
            kept
        }
    }

    fn places(&self) -> impl Iterator<Item = u32> + '_ {
        let in_hand = (self.group.known != 0 && !self.groups.contains_key(&self.at)).then_some(self.at);
        let before = self.groups.range(..self.at).map(|(at, _)| *at);
        let after = self.groups.range(self.at..).map(|(at, _)| *at);
        before.chain(in_hand).chain(after)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.group.known == 0 && self.groups.values().all(|group| group.known == 0)
    }

    pub(super) fn count(&self) -> Count {
        let groups = self.places().map(|at| self.group(at));
        groups
            .map(|group| Count {
                covered: u64::from(group.covered.count_ones()),
                total: u64::from(group.known.count_ones()),
            })
            .sum()
    }

    pub(super) fn get(&self, line: u32) -> Option<bool> {
        let Group { known, covered } = self.group(line >> 6);
        let bit = 1 << (line & 63);
        (known & bit != 0).then_some(covered & bit != 0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, bool)> + '_ {
        self.places().flat_map(move |at| {
            let Group { known, covered } = self.group(at);
            (0..64)
                .filter(move |bit| known >> bit & 1 == 1)
                .map(move |bit| (at << 6 | bit, covered >> bit & 1 == 1))
        })
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.put_down();
        for at in other.places() {
            let Group { known, covered } = other.group(at);
            let kept = self.groups.entry(at).or_default();
            kept.known |= known;
            kept.covered |= covered;
        }
    }
}
