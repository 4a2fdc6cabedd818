//! Reports and diffs that were damaged at random: no parser panics, hangs, or takes memory without bounds, the quick
//! way through plain XML finds what the way through quick-xml finds, counting as files go by finds what
//! their union has, and a report united with itself says what it said.
//!
//! `COVGATE_FUZZ_SECONDS` is how long each format is tried, 600 for a thorough run with `--release`; `COVGATE_FUZZ_SEED`
//! repeats a run.
#![allow(clippy::unwrap_used, reason = "a test that has no corpus can't go on")]

use std::io::{Cursor, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use covgate::format::{Depth, Format};
use covgate::input::Input;
use covgate::patch;
use covgate::verdict::Count;
use step::environment;

/// What is worth putting somewhere in a report.
const PIECES: [&str; 30] = [
    "0",
    "-1",
    "1e400",
    "18446744073709551616",
    "4294967295",
    "999999999999",
    "\"",
    "'",
    "<",
    ">",
    "/>",
    "&",
    "&amp;",
    "&#0;",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<!DOCTYPE x [<!ENTITY a \"b\">]>",
    "<?x ?>",
    "{",
    "}",
    "[",
    "]",
    "null",
    ",",
    "\n",
    "end_of_record\n",
    "\u{0}",
    "\u{feff}",
];

/// A generator of numbers that are random enough (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % limit.max(1)
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        start..start + self.below((length - start).min(200))
    }

    fn damage(&mut self, report: &mut Vec<u8>, others: &[Vec<u8>]) {
        let at = self.below(report.len());
        match self.below(7) {
            0 if !report.is_empty() => report[at] = u8::try_from(self.below(256)).unwrap(),
            1 if !report.is_empty() => report[at] ^= 1 << self.below(8),
            2 => drop(report.drain(self.range(report.len()))),
            3 => {
                let again = report[self.range(report.len())].repeat(1 + self.below(20));
                report.splice(at..at, again);
            }
            4 => drop(report.splice(at..at, PIECES[self.below(PIECES.len())].bytes())),
            5 => {
                let other = &others[self.below(others.len())];
                report.splice(at..at, other[self.range(other.len())].to_vec());
            }
            _ => report.truncate(at),
        }
    }
}

/// A reader that gives a byte at a time, so that no tag ever lies whole in a block.
struct Trickle(Cursor<Vec<u8>>);

impl Read for Trickle {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let length = out.len().min(1);
        self.0.read(&mut out[..length])
    }
}

/// What a report says: nothing where it is refused, or where counts alone are no union.
fn outcome(format: Format, depth: Depth, reader: Box<dyn Read>) -> Option<String> {
    let report = format.read(Input::new(reader).ok()?, depth).ok()?;
    report.coverage.is_union().then(|| {
        format!("{:?} {:?} {:?}", report.header, report.body_totals(), report.coverage.whole_lines())
    })
}

/// The lines of a report that names them all, and those of its union with itself.
fn doubled(format: Format, report: &[u8]) -> Option<[Count; 2]> {
    let read = || {
        let input = Input::new(Box::new(Cursor::new(report.to_vec()))).ok()?;
        format.read(input, Depth::Files).ok()
    };
    let mut union = read()?;
    let mut files = union.coverage.files().iter();
    files.all(|file| file.knows_lines() || file.lines().total == 0).then_some(())?;
    let once = union.coverage.lines();
    union.merge(read()?);
    Some([once, union.coverage.lines()])
}

fn number(variable: &str) -> Option<u64> {
    environment::var(variable).and_then(|value| value.parse().ok())
}

fn corpus(names: &[&str]) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    names.iter().map(|name| std::fs::read(folder.join(name)).unwrap()).collect()
}

#[track_caller]
fn try_damaged(format: Format, names: &[&str]) {
    let corpus = corpus(names);
    for report in &corpus {
        assert!(
            outcome(format, Depth::Files, Box::new(Cursor::new(report.clone()))).is_some(),
            "the corpus is read"
        );
    }
    damaged(&corpus, |report| {
        let began = Instant::now();
        let _ = Format::of(&report);
        let quick = outcome(format, Depth::Files, Box::new(Cursor::new(report.clone())));
        assert!(began.elapsed() < Duration::from_secs(10), "slow: {}", String::from_utf8_lossy(&report));
        if matches!(format, Format::Cobertura | Format::Jacoco | Format::Clover) {
            let slow = outcome(format, Depth::Files, Box::new(Trickle(Cursor::new(report.clone()))));
            assert_eq!(quick, slow, "{}", String::from_utf8_lossy(&report));
        }
        if let Some(counts) = outcome(format, Depth::Counts, Box::new(Cursor::new(report.clone()))) {
            assert_eq!(quick, Some(counts), "{}", String::from_utf8_lossy(&report));
        }
        // The others state counts that need not be those of their lines.
        let is_sum_of_lines = !matches!(format, Format::CoverageHtml | Format::Istanbul | Format::LlvmCov);
        if is_sum_of_lines && let Some([once, twice]) = doubled(format, &report) {
            assert_eq!(once, twice, "{}", String::from_utf8_lossy(&report));
        }
    });
}

/// Hands on damaged reports out of these, until the time is over.
#[track_caller]
fn damaged(corpus: &[Vec<u8>], mut take: impl FnMut(Vec<u8>)) {
    let seed = number("COVGATE_FUZZ_SEED").unwrap_or(0x9e37_79b9_7f4a_7c15);
    let end = Instant::now() + Duration::from_secs(number("COVGATE_FUZZ_SECONDS").unwrap_or(1));
    let mut random = Random(seed);
    let mut tries = 0_u64;
    while tries < 200 || Instant::now() < end {
        let mut report = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(6) {
            random.damage(&mut report, corpus);
        }
        take(report);
        tries += 1;
    }
    if let Some(peak) = peak_memory() {
        assert!(peak < 512 * 1024, "{peak} KiB");
    }
}

/// The most memory this process had, in KiB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_form_feed_is_no_white_space() {
    for (format, name) in
        [(Format::Clover, "clover.xml"), (Format::Cobertura, "cobertura.xml"), (Format::Jacoco, "jacoco.xml")]
    {
        let report = String::from_utf8(corpus(&[name]).remove(0)).unwrap();
        let report = ["<line ", "<counter "]
            .iter()
            .fold(report, |report, tag| report.replacen(tag, &tag.replace(' ', "\u{c}"), 1))
            .into_bytes();
        let quick = outcome(format, Depth::Files, Box::new(Cursor::new(report.clone())));
        assert_eq!(quick, outcome(format, Depth::Files, Box::new(Trickle(Cursor::new(report)))), "{name}");
    }
}

#[test]
fn coverage_html() {
    try_damaged(Format::CoverageHtml, &["index.html"]);
}

#[test]
fn coverage_json() {
    try_damaged(Format::CoverageJson, &["coverage.json"]);
}

#[test]
fn cobertura() {
    try_damaged(Format::Cobertura, &["cobertura.xml"]);
}

#[test]
fn jacoco() {
    try_damaged(Format::Jacoco, &["jacoco.xml"]);
}

#[test]
fn clover() {
    try_damaged(Format::Clover, &["clover.xml", "clover-phpunit.xml"]);
}

#[test]
fn lcov() {
    try_damaged(Format::Lcov, &["lcov.info"]);
}

#[test]
fn go() {
    try_damaged(Format::Go, &["cover.out"]);
}

#[test]
fn llvm_cov() {
    try_damaged(Format::LlvmCov, &["llvm-cov.json"]);
}

#[test]
fn istanbul() {
    try_damaged(Format::Istanbul, &["istanbul-final.json", "istanbul-summary.json"]);
}

#[test]
fn simplecov() {
    let names = [
        "simplecov-resultset.json",
        "simplecov-old.json",
        "simplecov-formatter.json",
        "simplecov-last-run.json",
    ];
    try_damaged(Format::SimpleCov, &names);
}

#[test]
fn diffs() {
    let corpus = corpus(&["change.diff"]);
    assert!(patch::read(corpus[0].as_slice()).is_ok_and(|changed| changed.len() == 4), "the corpus is read");
    damaged(&corpus, |diff| {
        let began = Instant::now();
        let lines = patch::read(diff.as_slice()).map(|changed| changed.values().map(Vec::len).sum::<usize>());
        assert!(lines.unwrap_or(0) <= diff.len(), "{}", String::from_utf8_lossy(&diff));
        assert!(began.elapsed() < Duration::from_secs(10), "slow: {}", String::from_utf8_lossy(&diff));
    });
}
