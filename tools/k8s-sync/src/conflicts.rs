//! What becomes of fields that others own: each is taken, left, or a reason to fail, by field and by manager.

use crate::cluster::Conflict;

/// What stands for all fields of all managers.
pub const ALL: &str = "*";

/// Some of the fields that others own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Whose {
    all: bool,
    /// Managers' names, and fields with all below them: `.spec.replicas`.
    some: Vec<String>,
}

impl Whose {
    /// Reads names of managers, fields that begin with a dot, and [`ALL`].
    pub fn parse(words: &[String]) -> Self {
        let some = words.iter().filter(|word| *word != ALL).cloned().collect();
        Self { all: words.iter().any(|word| word == ALL), some }
    }

    /// Whether all are meant.
    pub const fn is_all(&self) -> bool {
        self.all
    }

    /// Whether this one is meant by its own field or manager.
    fn names(&self, conflict: &Conflict) -> bool {
        self.some.iter().any(|word| *word == conflict.manager || is_within(&conflict.field, word))
    }
}

/// What becomes of which fields; what names a field or a manager goes before what means all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// These become ours.
    pub take: Whose,
    /// These stay as they are.
    pub leave: Whose,
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Taken,
    Left,
    Refused,
}

impl Policy {
    /// Everything becomes ours.
    pub fn taking() -> Self {
        Self { take: Whose { all: true, some: Vec::new() }, leave: Whose::default() }
    }

    /// Everything becomes ours but what is to be left by name.
    pub fn take_the_rest(&mut self) {
        self.take.all = true;
        self.leave.all = false;
    }

    pub(crate) fn fate(&self, conflict: &Conflict) -> Fate {
        if self.leave.names(conflict) {
            Fate::Left
        } else if self.take.names(conflict) {
            Fate::Taken
        } else if self.leave.all {
            Fate::Left
        } else if self.take.all {
            Fate::Taken
        } else {
            Fate::Refused
        }
    }

    /// Whether nothing is left and nothing refused, so that the server need not be asked whose a field is.
    pub(crate) const fn takes_all(&self) -> bool {
        self.take.all && !self.leave.all && self.leave.some.is_empty()
    }
}

/// Whether a field is another one, or below it.
fn is_within(field: &str, outer: &str) -> bool {
    outer.starts_with('.')
        && field.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_goes_before_what_means_all() {
        let whose =
            |words: &[&str]| Whose::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let policy = |take: &[&str], leave: &[&str]| Policy { take: whose(take), leave: whose(leave) };
        let conflict = |field: &str, manager: &str| Conflict { field: field.into(), manager: manager.into() };
        let replicas = conflict(".spec.replicas", "scaler");
        for (policy, fate) in [
            (policy(&[], &[]), Fate::Refused),
            (policy(&["*"], &[]), Fate::Taken),
            (policy(&["*"], &["scaler"]), Fate::Left),
            (policy(&["*"], &[".spec"]), Fate::Left),
            (policy(&["scaler"], &["*"]), Fate::Taken),
            (policy(&[".spec.replica"], &[]), Fate::Refused),
            (policy(&["other"], &[".spec.replicas"]), Fate::Left),
        ] {
            assert_eq!(policy.fate(&replicas), fate, "{policy:?}");
        }
        let image = conflict(r#".spec.containers[name="c"].image"#, "edit");
        assert_eq!(policy(&[".spec.containers"], &[]).fate(&image), Fate::Taken);
        assert!(policy(&["*"], &[]).takes_all() && !policy(&["*"], &["x"]).takes_all());
        let mut healing = policy(&[], &["*", "scaler"]);
        healing.take_the_rest();
        assert_eq!((healing.fate(&image), healing.fate(&replicas)), (Fate::Taken, Fate::Left));
    }
}
