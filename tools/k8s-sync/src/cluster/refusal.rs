//! What the API server's refusals say, in the user's terms: which field, whose it is, what never changes.

use kube::core::Status;
use serde_json::Value;

use crate::diff;
use crate::error::SyncError;

/// So much is quoted of a page that is no answer of Kubernetes'.
const WORDS: usize = 300;
/// So short are values that are not looked for in messages.
const SHORTEST: usize = 3;

/// A field that another manager has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The field's path, as the server writes it.
    pub field: String,
    /// Who has it.
    pub manager: String,
}

/// What the API server says of a value that its kind can't have.
const MISFITS: [&str; 2] = ["failed to create typed patch object", "illegal base64 data"];

/// What a server says in a body; a proxy before it, or the server's own gate, says it in words.
pub(super) fn status(code: u16, body: &[u8]) -> Status {
    let known: Option<Status> = serde_json::from_slice(body).ok();
    known.filter(|status| status.code != 0).unwrap_or_else(|| {
        let words = String::from_utf8_lossy(body).split_whitespace().collect::<Vec<_>>().join(" ");
        let words = if words.is_empty() { format!("HTTP status {code}") } else { words };
        Status::failure(&words.chars().take(WORDS).collect::<String>(), "").with_code(code)
    })
}

/// A refusal as an error.
pub(super) fn read(what: &str, status: &Status) -> SyncError {
    let what = what.to_owned();
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    if status.code == 409 {
        let conflicts: Vec<Conflict> = causes
            .iter()
            .filter(|cause| cause.reason == "FieldManagerConflict")
            .map(|cause| Conflict { field: cause.field.clone(), manager: manager_in(&cause.message) })
            .collect();
        if !conflicts.is_empty() {
            return SyncError::Conflict { object: what, conflicts };
        }
    }
    if status.code == 422 {
        let fixed: Vec<String> = causes
            .iter()
            .filter(|cause| is_immutable(&cause.message))
            .map(|cause| cause.field.clone())
            .collect();
        if !fixed.is_empty() {
            let rule =
                causes.iter().find(|cause| is_immutable(&cause.message)).map(|cause| rule(&cause.message));
            return SyncError::Immutable { object: what, fields: fixed, rule: rule.unwrap_or_default() };
        }
    }
    // The API server has 500 for an object that does not fit its schema; no retry mends that.
    let misfit = MISFITS.iter().any(|words| status.message.contains(words));
    let code = if misfit { 422 } else { status.code };
    let is_secret = what.starts_with("Secret ");
    let message = if is_secret { without_values(&status.message) } else { status.message.clone() };
    SyncError::Refused { what, message, code }
}

/// A message about a Secret without what it quotes of it: `expected string, got &value.valueUnstructured{Value:1234}`.
fn without_values(message: &str) -> String {
    let mut told = String::new();
    let mut rest = message;
    while let Some((before, after)) = rest.split_once("{Value:") {
        told.push_str(before);
        told.push_str("{…}");
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    told + rest
}

/// An error about an object without what it quotes of the object's secrets.
pub(super) fn hide(error: SyncError, object: &Value) -> SyncError {
    let hidden = diff::hidden_values(object);
    if hidden.is_empty() {
        return error;
    }
    match error {
        SyncError::Refused { what, message, code } => {
            SyncError::Refused { what, message: without(&message, &hidden), code }
        }
        SyncError::Immutable { object, fields, rule } => {
            SyncError::Immutable { object, fields, rule: without(&rule, &hidden) }
        }
        error => error,
    }
}

/// A message without these values, and without whatever else it quotes as a value.
fn without(message: &str, hidden: &[String]) -> String {
    let mut told = without_values(message);
    for words in ["Invalid value: ", "Unsupported value: ", "Duplicate value: "] {
        let mut rest = std::mem::take(&mut told);
        while let Some((before, after)) = rest.split_once(words) {
            told.extend([before, words, "…"]);
            rest = after[quoted(after)..].to_owned();
        }
        told.push_str(&rest);
    }
    // Shorter ones are in words that have nothing to do with them.
    for value in hidden.iter().filter(|value| value.len() >= SHORTEST) {
        for shown in [value.clone(), format!("{value:?}")] {
            told = told.replace(&shown, "…");
        }
    }
    told
}

/// How much of a text its first value is: Go's or JSON's words for it, or all up to the explanation.
fn quoted(text: &str) -> usize {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    if let Some(Ok(_)) = values.next() {
        return values.byte_offset();
    }
    text.rfind(": ").unwrap_or(text.len())
}

/// `conflict with "them" using v1` names the manager.
fn manager_in(message: &str) -> String {
    message.split('"').nth(1).unwrap_or(message).to_owned()
}

/// Whether a validation message says that the field can never change; the words differ by kind.
fn is_immutable(message: &str) -> bool {
    [
        "immutable",
        "may not change once set",
        "may not be changed",
        "may not be unset",
        // Of a StatefulSet, a StorageClass, a RoleBinding, a Pod.
        "updates to ",
        "cannot change roleRef",
        "pod updates may not change fields",
    ]
    .iter()
    .any(|words| message.contains(words))
}

/// The rule without the value that broke it, which may be long, or a secret.
fn rule(message: &str) -> String {
    let rule = match message.split_once(": ") {
        Some((kind, rest)) if kind.starts_with("Invalid value") => rest.rsplit(": ").next().unwrap_or(rest),
        Some(("Forbidden", rest)) => rest,
        _ => message,
    };
    // A Pod's goes on with all that differs.
    rule.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(code: u16, causes: &serde_json::Value) -> SyncError {
        let status =
            json!({"status": "Failure", "code": code, "message": "no", "details": {"causes": causes}});
        read("Job.batch n/j", &serde_json::from_value(status).unwrap())
    }

    #[test]
    fn a_conflict_names_field_and_manager() {
        let cause = json!([{"reason": "FieldManagerConflict", "message": "conflict with \"them\" using v1", "field": ".data.value"}]);
        let said = refused(409, &cause).to_string();
        assert_eq!(said, "Job.batch n/j: .data.value is owned by them");
    }

    #[test]
    fn an_immutable_field_is_named_without_its_value() {
        let message = r#"Invalid value: {"containers":[{"image":"a: b"}]}: field is immutable"#;
        let cause = json!([{"reason": "FieldValueInvalid", "message": message, "field": "spec.template"}]);
        let said = refused(422, &cause).to_string();
        assert_eq!(said, "Job.batch n/j: spec.template can't change: field is immutable");
    }

    #[test]
    fn a_secrets_values_are_not_quoted() {
        let message = "failed to create typed patch object (n/s; /v1, Kind=Secret): errors:\n  .data.pin: expected string, got &value.valueUnstructured{Value:1234}\n  .x: no";
        let text = json!({"status": "Failure", "code": 500, "message": message});
        let status = status(500, text.to_string().as_bytes());
        let said = read("Secret n/s", &status).to_string();
        assert!(said.contains(".data.pin: expected string") && said.ends_with(".x: no"), "{said}");
        assert!(!said.contains("1234"), "{said}");
        assert!(read("ConfigMap n/c", &status).to_string().contains("1234"));
    }

    #[test]
    fn what_was_encrypted_is_not_quoted() {
        let object = json!({"apiVersion": "v1", "kind": "Thing", "metadata": {"annotations": {crate::decryption::ENCRYPTED: "spec"}},
            "spec": {"password": "pass \"word\"", "pin": 17, "url": "https://user:other@host"}});
        let said = |message: &str| {
            let error = SyncError::Refused { what: "Thing t".into(), message: message.into(), code: 422 };
            hide(error, &object).to_string()
        };
        for (message, shown) in [
            (
                "spec.pin: Invalid value: 17: must be more",
                "Thing t: spec.pin: Invalid value: …: must be more",
            ),
            (
                r#"spec.password: Invalid value: "pass \"word\"": too weak"#,
                "Thing t: spec.password: Invalid value: …: too weak",
            ),
            (
                r#"Unsupported value: "pass": supported values: "a", and Duplicate value: {"a":"b: c"}"#,
                r#"Thing t: Unsupported value: …: supported values: "a", and Duplicate value: …"#,
            ),
            (
                "a webhook denied it: https://user:other@host has a user",
                "Thing t: a webhook denied it: … has a user",
            ),
            ("got &value.valueUnstructured{Value:17}", "Thing t: got &value.valueUnstructured{…}"),
        ] {
            assert_eq!(said(message), shown);
        }
    }

    #[test]
    fn words_of_a_gate_are_a_refusal_too() {
        let said = status(429, b"Too many requests, please try again later.\n");
        assert_eq!((said.code, said.message.as_str()), (429, "Too many requests, please try again later."));
        assert_eq!(status(502, b"").message, "HTTP status 502");
    }

    #[test]
    fn another_409_is_no_field_conflict() {
        assert!(matches!(refused(409, &json!([])), SyncError::Refused { code: 409, .. }));
    }
}
