//! Manifests in all the ways people and programs write them, from a seed.

/// A generator of its own: the same manifests on every machine (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % bound
    }

    pub(crate) fn pick<'c>(&mut self, choices: &[&'c str]) -> &'c str {
        choices[self.below(choices.len())]
    }
}

const IMAGES: [&str; 6] = [
    "app:1",
    "r.test:5000/team/app:v1.2",
    "ghcr.io/x/y",
    "app",
    "quay.io/p/q:4b1c9e2",
    "127.0.0.1:5000/a/b:1",
];

/// One to four documents.
pub(crate) fn manifest(random: &mut Random) -> String {
    let mut text = String::new();
    text.push_str(random.pick(&["", "", "\u{feff}", "# é comment\n", "---\n", "\n\n"]));
    for number in 0..=random.below(4) {
        if number > 0 {
            text.push_str(random.pick(&["---\n", "--- # next\n", "...\n---\n", "\n---\n# c\n"]));
        }
        if random.below(6) == 0 {
            text.push_str(&json(random));
        } else {
            block(random, &mut text);
        }
    }
    if random.below(5) == 0 {
        text.truncate(text.trim_end().len());
    }
    if random.below(5) == 0 { text.replace('\n', "\r\n") } else { text }
}

fn block(random: &mut Random, text: &mut String) {
    let indent = random.pick(&["", "  "]);
    text.push_str("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n");
    text.push_str(random.pick(&[
        "  name: web\n",
        "  name:   \"web\"   # aligned\n",
        "  {name: web}\n",
        "  name: wéb\n",
    ]));
    text.push_str("spec:\n  template:\n    spec:\n");
    for list in ["initContainers", "containers"].iter().skip(random.below(2)) {
        text.push_str(&format!("      {list}:\n"));
        for number in 0..=random.below(3) {
            container(random, text, indent, number);
        }
    }
    text.push_str(random.pick(&["", "# the end\n", "status: {}\n", "x: |\n  image: app:1\n\n"]));
}

fn container(random: &mut Random, text: &mut String, indent: &str, number: usize) {
    let image = random.pick(&IMAGES);
    let comment = random.pick(&["", "", " # note", "\t# tab", "   "]);
    let column = format!("      {indent}");
    if random.below(5) == 0 {
        let quote = random.pick(&["", "'", "\""]);
        text.push_str(&format!(
            "{column}- {{name: c{number},  image: {quote}{image}{quote} , tty: true}}{comment}\n"
        ));
        return;
    }
    text.push_str(&format!("{column}- name: c{number}\n"));
    if random.below(3) == 0 {
        text.push_str(random.pick(&["\n", "        # why\n", "\n\n"]));
    }
    let key = random.pick(&["image:", "image:", "\"image\":", "image :", "? image\n          :"]);
    let key = if key.starts_with('?') { format!("? image\n{column}  :") } else { key.to_owned() };
    let value = match random.below(7) {
        0 => format!("'{image}'{comment}"),
        1 => format!("\"{image}\"{comment}"),
        2 => format!(">-\n{column}    {image}"),
        3 => format!("|-  # body\n{column}    {image}\n"),
        4 => format!("!!str {image}{comment}"),
        5 => format!("\n{column}    {image}"),
        _ => format!("  {image}{comment}"),
    };
    text.push_str(&format!("{column}  {key} {value}\n"));
    text.push_str(
        random
            .pick(&["", "        args: [\"--mode\", '0644', 1.10]\n"])
            .replace("        ", &format!("{column}  "))
            .as_str(),
    );
}

fn json(random: &mut Random) -> String {
    let image = random.pick(&IMAGES);
    let (space, line) = (random.pick(&["", " "]), random.pick(&["", "\n", "\n  "]));
    format!(
        "{{\"kind\":{space}\"Pod\",{line}\"spec\":{{\"containers\":[{line}{{\"name\":\"c0\",\"image\":{space}\"{image}\"}}{line}]}}}}\n"
    )
}
