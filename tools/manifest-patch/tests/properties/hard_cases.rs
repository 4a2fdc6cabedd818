//! Texts that tools lose something of, each with exactly what must come out.

use manifest_patch::refusal::Refusal;
use manifest_patch::select::Where;

use crate::checks::{patch, same_events, target};

/// `OLD` stands for the image before, `NEW` for the one after, in quotes or not as the text has it.
const CASES: [(&str, &str); 50] = [
    ("comment behind", "containers:\n- name: a\n  image: OLD   # note\n"),
    ("comment above and below", "containers:\n# one\n- name: a\n  # two\n  image: OLD\n  # three\n"),
    ("comment behind a tab", "containers:\n- name: a\n  image: OLD\t# note\n"),
    ("aligned values", "containers:\n- name:    a\n  image:   OLD\n  tty:     true\n"),
    ("trailing spaces", "containers:\n- name: a  \n  image: OLD   \n  tty: true\n"),
    ("blank lines", "containers:\n\n- name: a\n\n  image: OLD\n\n\n  tty: true\n\n"),
    ("sequence not indented", "spec:\n  containers:\n  - image: OLD\n    name: a\n"),
    ("sequence indented", "spec:\n  containers:\n      -   image: OLD\n          name: a\n"),
    ("dash on a line of its own", "containers:\n-\n  name: a\n  image: OLD\n"),
    ("flow mapping", "containers:\n- {name: a, image: OLD, tty: true}\n"),
    ("flow mapping, tight", "containers: [{name: a,image: OLD}]\n"),
    ("flow mapping over lines", "containers: [\n  { name: a ,\n    image: OLD ,  # note\n  },\n]\n"),
    ("json, tight", "{\"containers\":[{\"name\":\"a\",\"image\":\"OLD\"}]}"),
    (
        "json, pretty",
        "{\n  \"containers\": [\n    {\n      \"name\": \"a\",\n      \"image\": \"OLD\"\n    }\n  ]\n}\n",
    ),
    (
        "json, by tabs",
        "{\n\t\"containers\": [\n\t\t{\n\t\t\t\"name\": \"a\",\n\t\t\t\"image\": \"OLD\"\n\t\t}\n\t]\n}\n",
    ),
    ("single quotes", "containers:\n- name: a\n  image: 'OLD'\n"),
    ("double quotes", "containers:\n- name: a\n  image: \"OLD\"\n"),
    ("quoted key", "containers:\n- \"name\": a\n  'image': OLD\n"),
    ("blank before the colon", "containers:\n- name: a\n  image  : OLD\n"),
    ("tab behind the colon", "containers:\n- name: a\n  image:\tOLD\n"),
    ("explicit key", "containers:\n- name: a\n  ? image\n  : OLD\n"),
    ("value on the next line", "containers:\n- name: a\n  image:\n    OLD\n  tty: true\n"),
    ("value behind a comment", "containers:\n- name: a\n  image: # here\n    OLD\n"),
    ("folded block, stripped", "containers:\n- name: a\n  image: >-\n    OLD\n  tty: true\n"),
    ("literal block, stripped", "containers:\n- name: a\n  image: |-  # note\n      OLD\n  tty: true\n"),
    ("literal block at the end", "containers:\n- name: a\n  image: |-\n    OLD"),
    ("block with an indentation", "containers:\n- name: a\n  image: >2-\n    OLD\n"),
    ("carriage returns", "containers:\r\n- name: a\r\n  image: OLD # c\r\n  tty: true\r\n"),
    ("mixed line breaks", "containers:\r\n- name: a\n  image: OLD\r\n  tty: true\n"),
    ("carriage returns and a block", "containers:\r\n- name: a\r\n  image: >-\r\n    OLD\r\n  tty: true\r\n"),
    ("no final newline", "containers:\n- name: a\n  image: OLD"),
    ("byte order mark", "\u{feff}containers:\n- name: a\n  image: OLD\n"),
    ("directive", "%YAML 1.2\n---\ncontainers:\n- name: a\n  image: OLD\n"),
    ("document end", "---\ncontainers:\n- name: a\n  image: OLD\n...\n"),
    ("documents around", "# c\n---\nx: 1\n---\n# d\ncontainers:\n- name: a\n  image: OLD\n---\n---\ny: 2\n"),
    ("marker with a comment", "--- # first\ncontainers:\n- name: a\n  image: OLD\n--- # second\n"),
    ("non-ASCII before", "# é ü 漢字 🚀\nx: \"漢字 \\u263a\"\ncontainers:\n- name: a\n  image: OLD\n"),
    ("non-ASCII on the line", "containers:\n- {名: é🚀, name: a, image: OLD} # ü\n"),
    ("anchor on the value", "containers:\n- name: a\n  image: &i OLD\n"),
    ("tag on the value", "containers:\n- name: a\n  image: !!str OLD\n"),
    ("tag and anchor", "containers:\n- name: a\n  image: !!str &i OLD # c\n"),
    ("merge key beside", "x: &d {tty: true}\ncontainers:\n- <<: *d\n  name: a\n  image: OLD\n"),
    ("odd keys", "\"a:b/c.d\": 1\n? [x, y]\n: z\ncontainers:\n- name: a\n  image: OLD\n"),
    (
        "octal and numbers",
        "mode: 0644\nv: 1.10\nt: 1:30\nn: ~\nb: yes\ncontainers:\n- name: a\n  image: OLD\n",
    ),
    ("folded arguments", "args: >\n  one\n  two\n\n  three\ncontainers:\n- name: a\n  image: OLD\n"),
    ("json in a block", "config: |\n  {\"image\": \"OLD-not\"}\ncontainers:\n- name: a\n  image: OLD\n"),
    ("the image in a comment", "# image: OLD\ncontainers:\n- name: a  # OLD\n  image: OLD\n"),
    ("no-break space in a comment", "containers:\n- name: a\n  image: OLD #\u{a0}c\n"),
    ("long line", "containers:\n- {x: \"LONG\", name: a, image: OLD}\n"),
    ("deep flow", "x: {a: [{b: [{containers: [{name: a, image: OLD}]}]}]}\n"),
];

#[test]
fn only_the_value_changes() {
    const OLD: &str = "r.test:5000/team/app:v1";
    let long = "long ".repeat(400);
    for (name, case) in CASES {
        for new in ["b:2", "r.test:5000/team/app:a-longer-tag.than-before"] {
            let case = case.replace("LONG", &long);
            let before = case.replace("OLD", OLD);
            // The value is the last occurrence in each of them.
            let at = case.rfind("OLD").unwrap();
            let after = format!("{}{new}{}", case[..at].replace("OLD", OLD), &case[at + "OLD".len()..]);
            let container = Where::Container("a".to_owned());
            let (outcome, edited) = patch(&before, vec![target(container, new)])
                .unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
            assert_eq!(edited, after, "{name}");
            assert_eq!(outcome.changes.len(), 1, "{name}");
            same_events(&edited);
        }
    }
}

#[test]
fn a_line_break_for_one_reader_only_is_refused() {
    // YAML 1.1, and so Kubernetes' own reader, ends a line at U+0085; YAML 1.2 doesn't.
    let text = "containers:\n- name: a\n  image: app:1 #\u{85}c\n";
    let refused = patch(text, vec![target(Where::Repository, "app:2")]).unwrap_err();
    assert!(matches!(refused, Refusal::SecondReader(_)), "{refused}");
}

#[test]
fn a_value_that_a_schema_would_misread_gets_quotes() {
    for tag in ["1.10", "123", "0755", "1e5", "true", "null", "on", "0x1F", "1_000", "2001-12-14", "12e03"] {
        let text = "image:\n  repository: app\n  tag: old # c\n";
        let (_, edited) = patch(text, vec![target(Where::Repository, &format!("app:{tag}"))]).unwrap();
        assert_eq!(edited, text.replace("old", &format!("\"{tag}\"")));
    }
}
