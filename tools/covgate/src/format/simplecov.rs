//! SimpleCov's files: `.resultset.json` with the lines of each test suite, `coverage.json` of its JSON
//! formatter, and `.last_run.json`, which has nothing but rounded percentages.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::json::{self, Hits, Items, Members, Object, Objects, skip};
use crate::coverage::FileCoverage;
use crate::error::ReportError;
use crate::input::Input;
use crate::report::{Body, Rates, Report};

pub(super) fn read(input: Input, report: &mut Report) -> Result<(), ReportError> {
    report.body = Body { lines: true, branches: true, functions: false, units: false };
    json::read(input, &mut Top(report))
}

struct Top<'a>(&'a mut Report);

impl Members for Top<'_> {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "result" => {
                let LastRun { line, branch, covered_percent } = map.next_value()?;
                let line = line.or(covered_percent);
                if line.is_none() && branch.is_none() {
                    return Err(A::Error::custom("`result` has no percentage"));
                }
                let percent = |figure: Option<serde_json::Number>| {
                    figure.map(|figure| figure.to_string().parse().map_err(A::Error::custom)).transpose()
                };
                self.0.rates = Rates { line: percent(line)?, branch: percent(branch)? };
                self.0.body = Body::default();
                Ok(())
            }
            // The JSON formatter's only set of files.
            "coverage" => map.next_value_seed(Object(&mut Files(self.0))),
            "files" => {
                map.next_value_seed(Objects(&mut Listed { report: self.0, file: FileCoverage::default() }))
            }
            "command_name" | "errors" | "groups" | "meta" | "metrics" | "timestamp" | "total" | "$schema" => {
                skip(map)
            }
            _suite => map.next_value_seed(Object(&mut Suite(self.0))),
        }
    }
}

/// Percentages as numbers, whose decimals are kept as they were written.
#[derive(Debug, Deserialize)]
struct LastRun {
    line: Option<serde_json::Number>,
    branch: Option<serde_json::Number>,
    covered_percent: Option<serde_json::Number>,
}

struct Suite<'a>(&'a mut Report);

impl Members for Suite<'_> {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "coverage" => map.next_value_seed(Object(&mut Files(self.0))),
            _ => skip(map),
        }
    }
}

struct Files<'a>(&'a mut Report);

impl Members for Files<'_> {
    fn member<'de, A: MapAccess<'de>>(&mut self, path: &str, map: &mut A) -> Result<(), A::Error> {
        let mut file = FileCoverage::new(path);
        map.next_value_seed(File(&mut file))?;
        self.0.coverage.add(file);
        Ok(())
    }
}

/// The files of the older JSON formatter, which come in a list.
struct Listed<'a> {
    report: &'a mut Report,
    file: FileCoverage,
}

impl Members for Listed<'_> {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "filename" => {
                self.file.path = map.next_value()?;
                Ok(())
            }
            "coverage" => map.next_value_seed(File(&mut self.file)),
            _ => skip(map),
        }
    }

    fn end(&mut self) {
        self.report.coverage.add(std::mem::take(&mut self.file));
    }
}

/// A file: an object with `lines`, or before SimpleCov 0.18 the lines themselves.
struct File<'a>(&'a mut FileCoverage);

impl<'de> DeserializeSeed<'de> for File<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for File<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the lines of a file")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut number = 0_u32;
        while let Some(Hits(hits)) = items.next_element()? {
            number = number.saturating_add(1);
            if let Some(hit) = hits {
                self.0.line(number, hit);
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "lines" => map.next_value_seed(File(&mut *self.0))?,
                "branches" => map.next_value_seed(Branches(&mut *self.0))?,
                _ => skip(&mut map)?,
            }
        }
        Ok(())
    }
}

/// Branches: in `.resultset.json` `{"[:if, 0, 3, 4, 8, 7]": {"[:then, 1, 4, 6, 4, 12]": 2}}`, in
/// `coverage.json` a list of objects.
struct Branches<'a>(&'a mut FileCoverage);

#[derive(Debug, Deserialize)]
struct Branch {
    #[serde(rename = "type")]
    kind: String,
    start_line: u32,
    end_line: u32,
    coverage: Hits,
}

impl<'de> DeserializeSeed<'de> for Branches<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Branches<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the branches of a file")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        let mut at = 0_u32;
        Items::each(|Branch { kind, start_line, end_line, coverage }| {
            at += 1;
            // "ignored" stands where a comment turned coverage off.
            if let Hits(Some(hit)) = coverage {
                self.0.branch(start_line, (kind, end_line, at), hit);
            }
            Ok(())
        })
        .visit_seq(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((condition, outcomes)) = map.next_entry::<String, HashMap<String, Hits>>()? {
            // [:if, id, start line, start column, end line, end column]
            let line = condition.split(',').nth(2).and_then(|line| line.trim().parse().ok()).unwrap_or(0);
            for (outcome, Hits(hits)) in outcomes {
                self.0.branch(line, (&condition, outcome), hits.unwrap_or(false));
            }
        }
        Ok(())
    }
}
