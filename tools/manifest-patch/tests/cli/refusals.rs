//! What is not changed, and why, with its place.

use serde_json::{Value, json};

use crate::support::{DIGEST, Place, assert_schema, stderr, stdout};

fn refused(text: &str, arguments: &[&str]) -> String {
    let place = Place::with("d.yml", text);
    let run = place.run(&[&["-i", "d.yml"], arguments].concat()).code(2);
    assert_eq!(stdout(&run), "");
    assert_eq!(place.read("d.yml"), text);
    stderr(&run)
}

fn says(text: &str, arguments: &[&str], message: &str) {
    let error = refused(text, arguments);
    assert!(error.contains(message), "{error}");
    assert!(error.contains("hint: "), "{error}");
}

const SHARED: &str = "\
kind: Pod
spec:
  initContainers:
  - &base {name: init, image: app:1}
  containers:
  - *base
  - <<: *base
    name: merged
";

/// What `--output json` says of a refusal.
fn typed(text: &[u8], arguments: &[&str]) -> Value {
    let place = Place::new();
    std::fs::write(place.path("d.yml"), text).unwrap();
    let run = place.run(&[&["-i", "-o", "json", "d.yml"], arguments].concat()).code(2);
    let answer: Value = serde_json::from_str(&stdout(&run)).unwrap();
    assert_schema(&answer);
    assert_eq!(std::fs::read(place.path("d.yml")).unwrap(), text);
    answer["refusal"].clone()
}

#[test]
fn every_refusal_has_a_type_a_line_and_a_column() {
    let container = |image: &str| format!("containers:\n- name: a\n  image: {image}\n");
    for (text, argument, kind) in [
        (container("app:1\n# ^\u{0}").as_str(), "a=app:2", "notYaml"),
        ("containers:\n- name: a\n  image: ^[\n", "a=app:2", "notYaml"),
        (&container("^app:1\n   more"), "a=app:2", "severalLines"),
        (&container("|\n    ^app\n    more"), "a=app:2", "blockScalar"),
        (&container("!!int ^1"), "a=app:2", "tag"),
        (&format!("x: &i app:1\n{}", container("^*i")), "a=app:2", "alias"),
        (&container("^[app]"), "a=app:2", "collection"),
        ("containers:\n- name: a\n  ? image\n^", "a=app:2", "noPlace"),
        ("containers:\n- {name: a, image: &i ^app:1}\n- {name: b, image: *i}\n", "a=app:2", "shared"),
        ("x: &x {image: app:1}\ncontainers:\n- ^{<<: *x, name: a}\n", "a=app:2", "merged"),
        ("containers:\n- name: a\n  image: app:1\n  ^name: a\n", "a=app:2", "duplicateKey"),
        ("image: {repository: ^app}\n", "--image=app:2", "noKey"),
        (&format!("image: {{repository: app, tag: '1', digest: ^'{DIGEST}'}}\n"), "--image=app:2", "stale"),
        (&container("^app:1  # {{ x }}\n  {{ y }}"), "a=app:2", "template"),
        (
            &container(&format!("^app:1\nx: {}{}", "[".repeat(200), "]".repeat(200))),
            "a=app:2",
            "secondReader",
        ),
    ] {
        // The mark is where the refusal shall point to.
        let before = &text[..text.find('^').unwrap()];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        let mut refusal = typed(text.replacen('^', "", 1).as_bytes(), &["--strict", argument]);
        refusal.as_object_mut().unwrap().remove("places");
        assert_eq!(
            refusal,
            json!({ "type": kind, "file": "d.yml", "line": line, "column": column }),
            "{text}"
        );
    }
    let shared = typed(b"containers:\n- {name: a, image: &i app:1}\n- {name: b, image: *i}\n", &["a=app:2"]);
    assert_eq!(shared["places"], json!([".containers[1].image"]));
    let conflict = typed(container("app:1").as_bytes(), &["a=app:2", "a=app:3"]);
    assert_eq!(
        (&conflict["type"], &conflict["line"], &conflict["column"]),
        (&json!("conflict"), &json!(3), &json!(10))
    );
    let latin = typed(b"x: y\nimage: app:1 # \xe9\n", &["--image", "app:2"]);
    assert_eq!(latin, json!({ "type": "notUtf8", "file": "d.yml", "line": 2, "column": 16 }));
    let utf16: Vec<u8> = "\u{feff}image: app:1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(typed(&utf16, &["--image", "app:2"])["type"], "notUtf8");

    let there = json!(["d.yml:3:10 container a (app:1)"]);
    let missing = typed(container("app:1").as_bytes(), &["aa=app:2"]);
    assert_eq!(missing, json!({ "type": "noMatch", "nearest": "a", "there": there }));
    let two = format!("{0}---\n{0}", container("app:1"));
    let several = typed(two.as_bytes(), &["--at", ".containers[0].image", "--image", "app:2"]);
    assert_eq!(several["type"], "severalMatches");
    assert_eq!(several["there"].as_array().unwrap().len(), 2);
}

#[test]
fn aliases() {
    let text = "x: &i app:1\nspec:\n  containers:\n  - name: a\n    image: *i\n";
    says(text, &["a=app:2"], "d.yml:5:12: the value is the alias *i of a value that stands elsewhere");
    let place = Place::new();
    let run = place.pipe(text, &["--break-alias", "a=app:2"]).success();
    assert_eq!(stdout(&run), text.replace("image: *i", "image: app:2"));
}

#[test]
fn shared_values() {
    // The first container is the same, its name too: it is meant as well.
    let message =
        "d.yml:4:31: the value is shared: changing it would also change .spec.containers[1][\"<<\"].image";
    says(SHARED, &["init=app:2"], message);
    for arguments in [&["--allow-shared", "init=app:2"][..], &["--image", "app:2"]] {
        let run = Place::new().pipe(SHARED, arguments).success();
        assert_eq!(stdout(&run), SHARED.replace("app:1", "app:2"));
    }
    says(SHARED, &["merged=app:2"], "d.yml:7:5: the container `merged` takes its image from elsewhere");
}

/// An image of a repository is meant wherever it comes from, or nothing is changed.
#[test]
fn images_that_come_through_aliases_are_not_passed_over() {
    let pod =
        |values: &str, containers: &str| format!("{values}kind: Pod\nspec:\n  containers:{containers}\n");
    let list = "x: &x\n- {name: a, image: app:1}\n";
    let base = "x: &x {image: app:1}\n";
    for (values, containers, place) in [
        ("x: &i app:1\n", "\n  - {name: a, image: *i}\n  - {name: b, image: app:1}", ".x"),
        (base, "\n  - {<<: *x, name: a}", ".x.image"),
        (base, "\n  - <<: [*x]\n    name: a", ".x.image"),
        (base, "\n  - *x", ".x.image"),
        (list, " *x", ".x[0].image"),
    ] {
        let text = pod(values, containers);
        says(&text, &["--image", "app:2"], &format!("also change {place}\n"));
        says(&text, &["--check", "--image", "app:2"], &format!("also change {place}\n"));
        let everywhere = Place::new().pipe(&text, &["--allow-shared", "--image", "app:2"]).success();
        assert_eq!(stdout(&everywhere), text.replace("app:1", "app:2"));

        // What is kept for aliases alone is written where it stands.
        let kept = text.replacen("x:", "x-image:", 1);
        let place = Place::with("d.yml", &kept);
        let check = place.run(&["--check", "--image", "app:2", "d.yml"]).code(1);
        assert_eq!(stdout(&check), "d.yml\n");
        place.write("before.yml", &kept);
        place.run(&["-i", "--image", "app:2", "d.yml"]).success();
        assert_eq!(place.read("d.yml"), kept.replace("app:1", "app:2"));
        place.run(&["verify", "before.yml", "d.yml"]).success();
        place.run(&["--check", "--image", "app:2", "d.yml"]).success();
    }
    let two = pod("x: &i app:1\n", "\n  - {name: a, image: *i}\n  - {name: b, image: app:1}");
    let broken = Place::new().pipe(&two, &["--break-alias", "--image", "app:2"]).success();
    let expected = two.replace("image: *i", "image: app:2").replace("image: app:1", "image: app:2");
    assert_eq!(stdout(&broken), expected);

    let env = pod("", "\n  - name: a\n    image: &i app:1\n    env: [{name: IMAGE, value: *i}]");
    says(&env, &["--image", "app:2"], "also change .spec.containers[0].env[0].value");
    let overridden = pod("", "\n  - &a {name: a, image: app:1}\n  - {<<: *a, name: b, image: other:1}");
    let run = Place::new().pipe(&overridden, &["--image", "app:2"]).success();
    assert_eq!(stdout(&run), overridden.replace("app:1", "app:2"));
}

#[test]
fn aliases_of_aliases_end() {
    let level = |level: usize| format!("a{level}: &a{level} [*a{below}, *a{below}]\n", below = level - 1);
    let bomb = (1..40).map(level).collect::<String>();
    let text = format!("a0: &a0 [x, x]\n{bomb}image: app:1\n");
    says(&text, &["--image", "app:2"], "aliases of aliases make more of the document");
}

#[test]
fn places_that_share_a_value_and_are_all_meant() {
    let text = "containers:\n- {name: a, image: &i app:1}\n- {name: b, image: *i}\n";
    for arguments in [
        &["--image", "app:2"][..],
        &["a=app:2", "b=app:2"],
        &["--container", "a", "--container", "b", "--image", "app:2"],
    ] {
        let run = Place::new().pipe(text, arguments).success();
        assert_eq!(stdout(&run), text.replace("app:1", "app:2"));
    }
    says(text, &["a=app:2", "b=app:3"], "two of the images asked for belong here");
    let parts = "x-tag: &t v1\nweb:\n  image: {repository: app, tag: *t}\n";
    let run = Place::new().pipe(parts, &["--image", "app:v2"]).success();
    assert_eq!(stdout(&run), parts.replace("v1", "v2"));
    says(&parts.replace("x-tag", "tag"), &["--image", "app:v2"], "3:33: the value is the alias *t");
}

#[test]
fn a_reference_given_twice_is_one() {
    let text = "image: app:1\n";
    let run = Place::new().pipe(text, &["--image", "app:2", "--image", "app:2"]).success();
    assert_eq!(stdout(&run), "image: app:2\n");
    let container = "containers:\n- {name: a, image: app:1}\n";
    let twice = ["--container", "a", "--image", "app:2", "--image", "app:2"];
    assert_eq!(stdout(&Place::new().pipe(container, &twice).success()), container.replace("app:1", "app:2"));
}

#[test]
fn duplicate_keys() {
    let text = "spec:\n  containers:\n  - name: a\n    image: app:1\n    image: app:1\n";
    says(text, &["a=app:2"], "d.yml:5:5: the key `image` stands here and in line 4");
}

#[test]
fn values_that_are_no_single_string() {
    for (value, message) in [
        ("app:1\n      more", "4:12: the value is written over several lines without quotes"),
        ("|\n      app\n      more", "5:7: the value is a block scalar of more or less than one line"),
        ("!!int 1", "4:18: the value has the tag"),
        ("[app]", "4:12: a sequence stands where the image should be"),
        ("{a: b}", "4:12: a mapping stands where the image should be"),
    ] {
        says(&format!("spec:\n  containers:\n  - name: a\n    image: {value}\n"), &["a=app:2"], message);
    }
}

#[test]
fn what_is_not_yaml_or_not_text() {
    says(
        "spec:\n  containers:\n  - name: a\n    image: app:1\n   b: [\n",
        &["a=app:2"],
        "d.yml:5:4: not YAML",
    );
    let place = Place::new();
    std::fs::write(place.path("d.yml"), b"image: app:1\nx: \xff\n").unwrap();
    let run = place.run(&["-i", "--image", "app:2", "d.yml"]).code(2);
    assert!(stderr(&run).contains("d.yml:2:4: not UTF-8 text"));
}

/// Also in files without the repository's name, which are not read as YAML.
#[test]
fn what_is_no_text_is_never_passed_over() {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for (bytes, message) in [
        (wide("\u{feff}image: other:1\n"), "e.yml:1:1: not UTF-8 text"),
        (wide("image: app:1\n"), "e.yml:1:2: not UTF-8 text"),
        (b"image: other:1\nx: \xff\n".to_vec(), "e.yml:2:4: not UTF-8 text"),
        (b"image: other:1\nx: \0\n".to_vec(), "e.yml:2:4: not YAML: a NUL character"),
    ] {
        let place = Place::with("d.yml", "image: app:1\n");
        std::fs::write(place.path("e.yml"), bytes).unwrap();
        let run = place.run(&["-i", "--image", "app:2", "d.yml", "e.yml"]).code(2);
        assert!(stderr(&run).contains(message), "{}", stderr(&run));
        assert_eq!(place.read("d.yml"), "image: app:1\n");
    }
}

#[test]
fn broken_yaml_is_no_template_for_what_it_says_in_texts() {
    for broken in [
        "x: @foo\n",
        "x: %foo\n",
        "# {{ here }}\n x: [\n",
        "note: '{{ here }}'\n x: [\n",
        "note: \"{{ here }}\"\n x: [\n",
        "note: |\n  {{ here }}\n x: [\n",
    ] {
        let text = format!("containers:\n- name: a\n  image: app:1\n{broken}");
        says(&text, &["--image", "app:2"], ": not YAML");
    }
}

#[test]
fn large_numbers_and_surrogates_are_no_reason_to_refuse() {
    for value in ["18446744073709551616", "-9223372036854775809", "\"\\ud83d\\ude80\"", "1e400"] {
        let text =
            format!("{{\"x\": {value}, \"containers\": [{{\"name\": \"a\", \"image\": \"app:1\"}}]}}\n");
        let run = Place::new().pipe(&text, &["--image", "app:2"]).success();
        assert_eq!(stdout(&run), text.replace("app:1", "app:2"));
    }
}

#[test]
fn what_the_second_reader_can_not_read_is_not_touched() {
    let deep =
        format!("containers:\n- name: a\n  image: app:1\n  env: {}{}\n", "[".repeat(200), "]".repeat(200));
    says(&deep, &["a=app:2"], "the second YAML reader can't read the document");
}

#[test]
fn an_image_reference_that_is_none() {
    let place = Place::with("d.yml", "image: app:1\n");
    let run = place.run(&["-i", "--image", "UPPER CASE:::bad", "d.yml"]).code(2);
    assert!(stderr(&run).contains("is not a repository"));
    place.pipe("app:\n", &["-i", "--image", "-", "d.yml"]).code(2);
}

#[test]
fn passwords_of_urls_are_not_shown() {
    let place = Place::with("d.yml", "image: app:1\n");
    let expression = ".image = \"https://user:s3cret@r.test/app:1\"";
    let cut = expression.trim_end_matches('"');
    for arguments in [
        &["--image", "https://user:s3cret@r.test/app:1"][..],
        &["--image", "user:s3cret@r.test/app:1"],
        &["--image", "user:s3cret@sha.r.test/app:1"],
        &["--image", "user:s3:cret/s3cret@r.test/app:1"],
        &["a=https://user:s3cret@r.test/app:1", "--image", "app:2"],
        &["a=user:s3cret@r.test/app:1", "--image", "app:2"],
        &["--expr", expression],
        &["--expr", cut],
        &["--image", "-"],
    ] {
        for format in ["text", "json"] {
            let run = place.pipe(
                "https://user:s3cret@r.test/app:1\n",
                &[&["-i", "-o", format, "d.yml"], arguments].concat(),
            );
            let run = run.code(2);
            let said = stderr(&run) + &stdout(&run);
            assert!(!said.contains("s3") && said.contains("r.test/app:1"), "{said}");
            assert!(said.contains("hint"), "{said}");
        }
    }
    assert_eq!(place.files(), ["d.yml"]);
}

#[test]
fn conflicting_images() {
    let text = "containers:\n- name: a\n  image: app:1\n";
    says(text, &["a=app:2", "a=app:3"], "two of the images asked for belong here");
}

#[test]
fn usage() {
    let place = Place::with("d.yml", "image: app:1\n");
    place.write("e.yml", "image: app:1\n");
    for arguments in [
        &["d.yml"][..],
        &["--image", "app:2", "d.yml", "e.yml"],
        &["--image", "app:2", "--template", "d.yml"],
        &["--image", "app:2", "-i"],
        &["--container", "a", "d.yml"],
        &["--image", "app:2", "absent.yml"],
        &["--image", "-"],
    ] {
        place.pipe("app:2\n", arguments).code(2);
    }
    assert_eq!(place.read("d.yml"), "image: app:1\n");
}
