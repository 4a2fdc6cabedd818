//! A run that has ended.

use std::process::{Command, Output};

use serde_json::Value;

use crate::schema;

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status; none where a signal ended it.
    pub status: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said to people.
    pub stderr: String,
}

impl Ran {
    /// Runs it to its end.
    ///
    /// # Panics
    /// Where it does not start.
    #[expect(clippy::expect_used, reason = "a test that can't run the tool can't go on")]
    pub fn of(command: &mut Command) -> Self {
        command.output().expect("the program starts").into()
    }

    /// Holds its exit status against this one.
    ///
    /// # Panics
    /// Where it is another.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "to have asked may be all")]
    pub fn ended(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Looks for words in what it said.
    ///
    /// # Panics
    /// Where they are not there.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "to have asked may be all")]
    pub fn says(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "`{words}` is not in {}", self.stderr);
        self
    }

    /// The document that it printed, held against a schema.
    ///
    /// # Panics
    /// Where it is none, or not as the schema says.
    #[track_caller]
    #[expect(clippy::expect_used, reason = "a test that gets no document has failed")]
    pub fn json(&self, schema: &str) -> Value {
        let value = serde_json::from_str(&self.stdout).expect("JSON on stdout");
        schema::check(schema, &value);
        value
    }
}

impl From<Output> for Ran {
    #[expect(clippy::expect_used, reason = "the tools print UTF-8")]
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
        }
    }
}
