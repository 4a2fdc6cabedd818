//! Paths and assignments, read from the part of yq's and jq's language that pipelines set images
//! with: `.a.b[0].c = "x"`, `(.items[] | select(.name == "x") | .image) |= strenv(IMAGE)`.

use crate::path::{Path, PathError, Step};

/// `PATH = VALUE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// What is set.
    pub path: Path,
    /// To what.
    pub value: String,
}

/// Looks up an environment variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a path.
pub fn path(text: &str) -> Result<Path, PathError> {
    let mut reader = Reader::new(text);
    let path = reader.pipe()?;
    reader.end()?;
    Ok(path)
}

/// Reads one or more assignments, joined by `|`. Filters in front of an assignment narrow it.
pub fn assignments(text: &str, variables: Lookup<'_>) -> Result<Vec<Assignment>, PathError> {
    let mut reader = Reader::new(text);
    let mut assignments = Vec::new();
    let mut context = Path::default();
    loop {
        reader.statement(&mut context, &mut assignments, variables)?;
        if !reader.take("|") {
            break;
        }
    }
    reader.end()?;
    if assignments.is_empty() { Err(reader.error("nothing is assigned")) } else { Ok(assignments) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.blanks();
        let there = self.rest().starts_with(token);
        self.at += if there { token.len() } else { 0 };
        there
    }

    fn want(&mut self, token: &str) -> Result<(), PathError> {
        if self.take(token) { Ok(()) } else { Err(self.error(&format!("`{token}` is missing"))) }
    }

    fn end(&mut self) -> Result<(), PathError> {
        self.blanks();
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(self.error("this part of the language is not supported"))
        }
    }

    fn error(&self, problem: &str) -> PathError {
        let position = self.text[..self.at].chars().count() + 1;
        PathError { text: self.text.to_owned(), problem: problem.to_owned(), position }
    }

    /// A filter, which narrows what follows, or an assignment, which may stand in brackets.
    fn statement(
        &mut self,
        context: &mut Path,
        assignments: &mut Vec<Assignment>,
        variables: Lookup<'_>,
    ) -> Result<(), PathError> {
        let start = self.at;
        if self.take("(") {
            let before = assignments.len();
            let mut inner = context.clone();
            let mut read = self.bare_statement(&mut inner, assignments, variables);
            while read.is_ok() && self.take("|") {
                read = self.bare_statement(&mut inner, assignments, variables);
            }
            if assignments.len() > before {
                read?;
                return self.want(")");
            }
            self.at = start;
        }
        self.bare_statement(context, assignments, variables)
    }

    fn bare_statement(
        &mut self,
        context: &mut Path,
        assignments: &mut Vec<Assignment>,
        variables: Lookup<'_>,
    ) -> Result<(), PathError> {
        if self.take("with(") {
            let mut inner = Path(context.0.iter().cloned().chain(self.pipe()?.0).collect());
            self.want(";")?;
            self.bare_statement(&mut inner, assignments, variables)?;
            while self.take("|") {
                self.bare_statement(&mut inner, assignments, variables)?;
            }
            return self.want(")");
        }
        let path = self.term()?;
        let steps = context.0.iter().cloned().chain(path.0).collect();
        if self.take("|=") || (!self.rest().starts_with("==") && self.take("=")) {
            assignments.push(Assignment { path: Path(steps), value: self.value(variables)? });
        } else {
            context.0 = steps;
        }
        Ok(())
    }

    /// Terms joined by `|`.
    fn pipe(&mut self) -> Result<Path, PathError> {
        let mut steps = self.term()?.0;
        while !self.rest().trim_start().starts_with("|=") && self.take("|") {
            steps.extend(self.term()?.0);
        }
        Ok(Path(steps))
    }

    /// `(PIPE)`, `select(…)` or a path, and the path steps behind it.
    fn term(&mut self) -> Result<Path, PathError> {
        let mut steps = Vec::new();
        if self.take("(") {
            steps.extend(self.pipe()?.0);
            self.want(")")?;
        } else if self.take("select") {
            self.want("(")?;
            loop {
                let path = self.pipe()?;
                let equal = self.take("==");
                if !equal {
                    self.want("!=")?;
                }
                let text = self.string()?;
                if text.contains(['*', '?']) {
                    return Err(self.error("wildcards, which yq reads here, are not supported"));
                }
                steps.push(Step::Select(path, text, equal));
                if !self.take("and ") {
                    break;
                }
            }
            self.want(")")?;
        } else {
            self.blanks();
            if !self.rest().starts_with('.') {
                return Err(self.error("a path begins with a dot"));
            }
            if self.rest().starts_with("..") {
                return Err(self.error("`..` is not supported"));
            }
            // A lone dot means the node itself.
            let next = self.rest()[1..].chars().next();
            if next.is_none_or(|c| !is_word(c) && c != '[' && c != '"') {
                self.at += 1;
                return Ok(Path::default());
            }
        }
        self.steps(&mut steps)?;
        Ok(Path(steps))
    }

    fn steps(&mut self, steps: &mut Vec<Step>) -> Result<(), PathError> {
        loop {
            let rest = self.rest();
            if rest.starts_with(".[") || rest.starts_with('[') {
                self.at += if rest.starts_with('.') { 2 } else { 1 };
                steps.push(self.bracket()?);
            } else if rest.starts_with(".\"") {
                self.at += 1;
                steps.push(Step::Key(self.string()?));
            } else if let Some(key) = rest.strip_prefix('.') {
                let length = key.find(|c| !is_word(c)).unwrap_or(key.len());
                if length == 0 {
                    return Err(self.error("a key is missing"));
                }
                steps.push(Step::Key(key[..length].to_owned()));
                self.at += 1 + length;
            } else {
                return Ok(());
            }
        }
    }

    fn bracket(&mut self) -> Result<Step, PathError> {
        self.blanks();
        let step = if self.rest().starts_with('"') {
            Step::Key(self.string()?)
        } else {
            let length = self.rest().find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(0);
            let number = &self.rest()[..length];
            if number.is_empty() {
                Step::Each
            } else {
                let index = number.parse().map_err(|_| self.error("this is not an index"))?;
                self.at += length;
                Step::Index(index)
            }
        };
        self.want("]")?;
        Ok(step)
    }

    /// A double-quoted text, as JSON writes it.
    fn string(&mut self) -> Result<String, PathError> {
        self.blanks();
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<String>();
        let value = values.next().and_then(Result::ok).filter(|_| self.rest().starts_with('"'));
        let length = values.byte_offset();
        match value {
            Some(text) => {
                self.at += length;
                Ok(text)
            }
            None => Err(self.error("a text in double quotes is missing")),
        }
    }

    /// What is assigned: texts and variables, joined by `+`.
    fn value(&mut self, variables: Lookup<'_>) -> Result<String, PathError> {
        let mut value = self.operand(variables)?;
        while self.take("+") {
            value.push_str(&self.operand(variables)?);
        }
        Ok(value)
    }

    /// A text, or a variable as yq (`strenv(X)`, `env(X)`) and jq (`env.X`, `$ENV.X`) name it.
    fn operand(&mut self, variables: Lookup<'_>) -> Result<String, PathError> {
        if self.take("(") {
            let value = self.value(variables)?;
            self.want(")")?;
            return Ok(value);
        }
        if self.rest().starts_with('"') {
            return self.text(variables);
        }
        let function = self.take("strenv(") || self.take("env(");
        if !function && !self.take("$ENV.") && !self.take("env.") {
            return Err(self.error("the value is neither a text in double quotes nor a variable"));
        }
        let rest = self.rest();
        let name = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())];
        let value = variables(name).ok_or_else(|| self.error(&format!("the variable {name} is not set")))?;
        self.at += name.len();
        if function {
            self.want(")")?;
        }
        Ok(value)
    }

    /// A double-quoted text with values in it: `"app:\(env.TAG)"`.
    fn text(&mut self, variables: Lookup<'_>) -> Result<String, PathError> {
        let mut value = String::new();
        let mut literal = "\"".to_owned();
        self.at += 1;
        loop {
            let rest = self.rest();
            if rest.starts_with("\\(") || rest.starts_with('"') {
                literal.push('"');
                let text = serde_json::from_str::<String>(&literal);
                value.push_str(&text.map_err(|_| self.error("the text before this is not one of JSON"))?);
                self.at += 1;
                if rest.starts_with('"') {
                    return Ok(value);
                }
                self.at += 1;
                value.push_str(&self.value(variables)?);
                self.want(")")?;
                "\"".clone_into(&mut literal);
            } else {
                // A backslash and what it escapes stay together.
                let length =
                    rest.chars().take(if rest.starts_with('\\') { 2 } else { 1 }).map(char::len_utf8).sum();
                if length == 0 {
                    return Err(self.error("the text has no end"));
                }
                literal.push_str(&rest[..length]);
                self.at += length;
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let variables = |name: &str| (name == "IMAGE").then(|| "app:2".to_owned());
        let assignments = assignments(text, &variables).unwrap();
        assignments.into_iter().map(|one| (one.path.to_string(), one.value)).collect()
    }

    #[test]
    fn assignments_of_existing_pipelines() {
        let containers = ".spec.template.spec.containers";
        for (text, path) in [
            (format!("{containers}[0].image = \"app:2\""), format!("{containers}[0].image")),
            (format!("{containers}[0].image=strenv(IMAGE)"), format!("{containers}[0].image")),
            (format!("{containers}[0].image |= env.IMAGE"), format!("{containers}[0].image")),
            (
                format!("({containers}[] | select(.name == \"app\") | .image) = $ENV.IMAGE"),
                format!("{containers}[] | select(.name == \"app\") | .image"),
            ),
            (
                format!("{containers}[] | select(.name == \"app\") | .image = env(IMAGE)"),
                format!("{containers}[] | select(.name == \"app\") | .image"),
            ),
            (
                format!("({containers}[] | select(.name == \"app\")).image = \"app:2\""),
                format!("{containers}[] | select(.name == \"app\") | .image"),
            ),
            (
                "select(.kind == \"Pod\" and .metadata.name != \"x\") | .spec[\"a b\"].image = \"app:2\""
                    .to_owned(),
                "select(.kind == \"Pod\") | select(.metadata.name != \"x\") | .spec[\"a b\"].image"
                    .to_owned(),
            ),
        ] {
            assert_eq!(read(&text), [(path, "app:2".to_owned())], "{text}");
        }
    }

    #[test]
    fn values_put_together() {
        for value in [
            "\"app:\" + env(TAG)",
            "(\"app\" + \":\" + strenv(TAG))",
            "\"app:\\(env.TAG)\"",
            "\"\\u0061pp\\(\":\" + strenv(TAG))\"",
        ] {
            let variables = |name: &str| (name == "TAG").then(|| "2".to_owned());
            let read = assignments(&format!(".a = {value}"), &variables).unwrap();
            assert_eq!(read[0].value, "app:2", "{value}");
        }
    }

    #[test]
    fn with_narrows() {
        let path = ".c[] | select(.name == \"app\") | .image".to_owned();
        assert_eq!(
            read("with(.c[] | select(.name == \"app\"); .image = \"1\" | .x = \"2\") | .y = \"3\""),
            [
                (path.clone(), "1".to_owned()),
                (path.replace("image", "x"), "2".to_owned()),
                (".y".to_owned(), "3".to_owned())
            ]
        );
    }

    #[test]
    fn several_assignments() {
        let two = [(".a".to_owned(), "1".to_owned()), (".b[0]".to_owned(), "2".to_owned())];
        assert_eq!(read(".a = \"1\" | .b[0] = \"2\""), two);
        assert_eq!(read("(.a = \"1\") | (.b[0] = \"2\")"), two);
    }

    #[test]
    fn what_is_not_supported_is_named_with_its_place() {
        let error = |text: &str| assignments(text, &|_| None).unwrap_err().to_string();
        assert_eq!(error(".a"), "`.a`: nothing is assigned at character 3");
        assert_eq!(error(".. = \"x\""), "`.. = \"x\"`: `..` is not supported at character 1");
        assert!(error(".a = strenv(NOPE)").contains("NOPE is not set"));
        assert!(error(".a += \"x\"").contains("at character 4"));
        assert!(error("del(.a)").contains("begins with a dot"));
        assert!(error("select(.name == \"a*\") | .a = \"1\"").contains("wildcards"));
        for endless in [
            ".a = \"x",
            ".a = \"\\",
            ".a = \"\\(",
            ".a = \"\\(env.PATH",
            "with(.a; .b = \"x\"",
            ".a = \"\\q\"",
        ] {
            error(endless);
        }
    }
}
