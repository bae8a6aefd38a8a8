//! Reading JSON, and saying what is wrong with it in words that a client knows.

use serde::de::DeserializeOwned;

use super::excerpt;
use crate::problem::Problem;

/// Reads JSON; `what` names it in problems, which say what is wrong at which place without
/// repeating long or secret values: they go to the log as well.
///
/// # Errors
///
/// 400 for what is no JSON, 422 for JSON of another kind.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut reader);
    let (error, path) = match parsed {
        Ok(value) => match reader.end() {
            Ok(()) => return Ok(value),
            Err(error) => (error, String::new()),
        },
        Err(error) => {
            let path = error.path().to_string();
            (error.into_inner(), path)
        }
    };
    if error.classify() != serde_json::error::Category::Data {
        return Err(Problem::malformed(format!(
            "{what} is not valid JSON: {}",
            excerpt(&error.to_string(), 100)
        )));
    }
    let place = match path.as_str() {
        "" | "." => String::new(),
        path => format!("'{}': ", excerpt(path, 60)),
    };
    let position = format!(" at line {} column {}", error.line(), error.column());
    let message = error.to_string();
    let message = message.strip_suffix(&position).unwrap_or(&message);
    Err(Problem::unusable(format!(
        "{what} is not what this takes: {place}{}",
        explained(message)
    )))
}

/// What serde says of a wrong value, in words that a client knows. Text is never repeated: it may
/// be a picture or a token in the wrong place.
fn explained(message: &str) -> String {
    let wrong = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "));
    // What is expected is of our types' words, and comes last.
    if let Some((found, expected)) = wrong.and_then(|rest| rest.rsplit_once(", expected ")) {
        let found = match found.split(['"', '`']).next().unwrap_or_default().trim() {
            "string" => "text".to_owned(),
            "map" => "an object".to_owned(),
            "sequence" => "an array".to_owned(),
            _ => excerpt(&found.replace('`', ""), 60),
        };
        return format!("found {found}, expected {}", in_words(expected));
    }
    for (unknown, name) in [("unknown field `", "field"), ("unknown variant `", "value")] {
        if let Some(rest) = message.strip_prefix(unknown) {
            let (found, expected) = rest
                .rsplit_once("`, expected ")
                .or_else(|| rest.rsplit_once("`, there are no "))
                .unwrap_or((rest, "another"));
            return format!(
                "there is no {name} '{}', expected {}",
                excerpt(&found.escape_debug().to_string(), 60),
                excerpt(expected, 400)
            );
        }
    }
    excerpt(message, 100)
}

/// The types of Rust in the words of JSON.
fn in_words(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a string" => "text".to_owned(),
        structure if structure.starts_with("struct ") => "an object".to_owned(),
        other => excerpt(other, 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{MAX_EXAMPLES, Search, SignIn};

    fn complaint<T: DeserializeOwned>(text: &str) -> String {
        let problem = parse::<T>(text.as_bytes(), "the body").map(|_| ());
        problem.unwrap_err().detail().to_owned()
    }

    #[test]
    fn wrong_json_is_explained_without_its_values() {
        for (text, expected) in [
            (
                r#"{"k": "secret-secret"}"#,
                "'k': found text, expected a whole number of at least 0",
            ),
            (
                r#"{"k": -1}"#,
                "'k': found integer -1, expected a whole number of at least 0",
            ),
            (
                r#"{"query": "data:image/png;base64,secret"}"#,
                "'query': found text, expected an object",
            ),
            (
                r#"{"query": {"code": [1, "secret, expected u8"]}}"#,
                "'query.code[1]': found text, expected a number",
            ),
            (
                r#"{"kk": 5}"#,
                "there is no field 'kk', expected one of `query`",
            ),
            (
                r#"{"metric": "hamming"}"#,
                "'metric': there is no value 'hamming', expected one of",
            ),
            (
                r#"{"like": 7}"#,
                "'like': found integer 7, expected an array",
            ),
            (r#""secret""#, "takes: found text, expected an object"),
            (
                r#"{"query": {"id": "secret"}}"#,
                "'query.id': UUID parsing failed",
            ),
        ] {
            let detail = complaint::<Search>(text);
            assert!(detail.contains(expected), "{text}: {detail}");
            assert!(!detail.contains("secret"), "{text}: {detail}");
        }
    }

    #[test]
    fn examples_are_counted_while_they_are_read() {
        for kind in ["like", "unlike"] {
            let text = |count: usize| format!("{{\"{kind}\": [{}]}}", vec!["{}"; count].join(","));
            assert!(parse::<Search>(text(MAX_EXAMPLES).as_bytes(), "the body").is_ok());
            let detail = complaint::<Search>(&text(MAX_EXAMPLES + 1));
            assert!(detail.contains("more than 10000 examples"), "{detail}");
            // What follows is not read: that it is no example is not noticed.
            let cut = text(MAX_EXAMPLES + 1).replace("}]}", "}, 7, 7");
            let detail = complaint::<Search>(&cut);
            assert!(detail.contains("more than 10000 examples"), "{detail}");
        }
    }

    #[test]
    fn long_values_make_short_complaints() {
        let long = "x".repeat(2 << 20);
        for text in [
            format!("\"{long}\""),
            format!("{{\"{long}\": 1}}"),
            format!("{{\"metric\": \"{long}\"}}"),
            format!("{{\"k\": {}}}", "9".repeat(100_000)),
            format!("{{\"query\": {{\"id\": \"{long}\"}}}}"),
            long.clone(),
        ] {
            let detail = complaint::<Search>(&text);
            assert!(
                detail.len() < 700,
                "{} bytes: {}",
                detail.len(),
                excerpt(&detail, 200)
            );
        }
        assert!(complaint::<SignIn>(&format!("\"{long}\"")).len() < 200);
    }
}
