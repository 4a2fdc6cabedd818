//! What makes a text a template: `{{ }}` where YAML would read it as more than a text.

/// Whether `{{ }}` stands outside of comments, quotes and block scalars, or in quotes with quotes of its own, which end
/// them for YAML.
pub fn has_actions(text: &str) -> bool {
    let mut quote = None;
    lines(text).any(|(start, line)| scan(line, &mut quote) && text[start..].contains("}}"))
}

/// The lines that are not inside of block scalars, each with where it begins. Lines without a text are left out.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut block: Option<usize> = None;
    let mut offset = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let start = offset;
        offset += line.len();
        let content = line.trim_start_matches(' ');
        if content.trim().is_empty() {
            return None;
        }
        let indentation = line.len() - content.len();
        if block.is_some_and(|column| indentation > column) {
            return None;
        }
        block = block_column(line);
        Some((start, line))
    })
}

/// The column that a block scalar's lines are indented deeper than, if the line begins one.
fn block_column(line: &str) -> Option<usize> {
    let content = line.split(" #").next()?.trim_end();
    let (before, header) = content.rsplit_once([' ', '\t'])?;
    let is_header =
        header.starts_with(['|', '>']) && header[1..].chars().all(|c| c.is_ascii_digit() || "+-".contains(c));
    let before = before.trim_end();
    let owner = before.rsplit([' ', '\t']).next().unwrap_or_default();
    let has_owner = owner == "-" || owner.ends_with(':') || owner.starts_with(['&', '!']);
    let mut column = content.len() - content.trim_start_matches(' ').len();
    while let Some(rest) = content[column..].strip_prefix("- ") {
        let inside = content.len() - rest.trim_start_matches(' ').len();
        if inside + header.len() >= content.len() {
            break;
        }
        column = inside;
    }
    (is_header && has_owner).then_some(column)
}

/// Whether an action stands on the line, outside of comments and the scalars of this quote.
fn scan(line: &str, quote: &mut Option<u8>) -> bool {
    let bytes = line.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let action = bytes[at..].starts_with(b"{{");
        match *quote {
            Some(b'"') if byte == b'\\' => at += 1,
            Some(b'\'') if bytes[at..].starts_with(b"''") => at += 1,
            Some(own) if action => {
                let end = line[at..].find("}}").map_or(line.len(), |end| at + end);
                let ends_quote = |inside: usize| bytes[inside] == own && bytes[inside - 1] != b'\\';
                if (at + 2..end).any(ends_quote) {
                    return true;
                }
                at = end;
            }
            Some(own) if byte == own => *quote = None,
            None if action => return true,
            None if byte == b'#' && (at == 0 || bytes[at - 1].is_ascii_whitespace()) => return false,
            None if matches!(byte, b'"' | b'\'') && begins_value(&line[..at]) => *quote = Some(byte),
            _ => {}
        }
        at += 1;
    }
    false
}

/// Whether a value may begin behind this part of a line: elsewhere, a quote is a character like others.
fn begins_value(before: &str) -> bool {
    let trimmed = before.trim_end();
    let word = trimmed.rsplit([' ', '\t']).next().unwrap_or_default();
    let apart = trimmed.len() < before.len();
    trimmed.is_empty()
        || trimmed.ends_with(['[', '{', ','])
        || (apart && (trimmed.ends_with([':', '-', '?']) || word.starts_with(['&', '!'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_told_from_texts() {
        for template in [
            "{{- if .x }}\na: 1\n",
            "a: {{ .x }}\n",
            "a: b {{ .x }} # c\n",
            "a: don't {{ .x }}\n",
            "a: \"{{ .x | default \"y\" }}\"\n",
            "a: '{{ .x | default 'y' }}'\n",
            "a: |\n  {{ .x }}\n{{ .y }}\n",
            "- a: |\n    b\n  c: {{ .x }}\n",
            "a: {b: \"c\", d: {{ .x }}}\n",
        ] {
            assert!(has_actions(template), "{template}");
        }
        for yaml in [
            "a: @b\n",
            "# {{ .x }}\na: b # {{ .y }}\n",
            "a: \"{{ .x }}\"\nb: '{{ .y }}'\n",
            "a: \"\\\"{{ .x }}\"\n",
            "a: 'it''s {{ .x }}'\n",
            "a: \"b\n  {{ .x }}\"\n",
            "a: |-  # c\n  {{ .x }}\nb: 1\n",
            "- |\n  {{ .x }}\n- >2-\n    {{ .x }}\n",
            "a: [\"{{ .x }}\", '{{ .y }}']\n",
            "a: !t \"{{ .x }}\"\n",
            "a: {{ b\n",
        ] {
            assert!(!has_actions(yaml), "{yaml}");
        }
    }
}
