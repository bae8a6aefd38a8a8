//! What the servers are told to store, and how it is filtered.

use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::{Condition, Filter, Range};
use serde_json::json;

pub fn fields(id: u64) -> serde_json::Value {
    match id % 5 {
        0 => {
            json!({"label": "cat", "width": id, "tags": ["a", "b"], "extra": {"some-name": "x", "n": 1}})
        }
        1 => json!({"label": "dog", "width": id as f64 + 0.5, "tags": [], "seen": true}),
        2 => json!({"label": null, "width": id, "parts": [{"x": 1, "y": 1}, {"x": 2, "y": 2}]}),
        3 => json!({"label": ["cat", "bird", "cat"], "seen": false}),
        _ => json!({}),
    }
}

/// Codes without two that are equally far from what is asked for.
pub fn code(id: u64) -> Vec<f32> {
    let angle = id as f32 * 0.37 + 0.1;
    let length = 1.0 + id as f32 * 0.13;
    vec![
        angle.cos() * length,
        angle.sin() * length,
        0.05 * length * length,
    ]
}

pub fn filters() -> Vec<Filter> {
    let strings = |texts: &[&str]| -> Vec<String> { texts.iter().map(|&t| t.to_owned()).collect() };
    let cat = || Condition::matches("label", "cat".to_owned());
    let wide = || {
        Condition::range(
            "width",
            Range {
                gte: Some(5.0),
                lt: Some(12.5),
                ..Range::default()
            },
        )
    };
    let not_cat = || Condition::matches("label", !MatchValue::from(strings(&["cat"])));
    vec![
        Filter::default(),
        Filter::must([cat()]),
        Filter::must_not([cat()]),
        Filter::must([wide()]),
        Filter::must([not_cat()]),
        Filter::must([Condition::matches("label", strings(&["dog", "bird"]))]),
        Filter::must([Condition::matches("width", 10)]),
        Filter::must([Condition::matches("width", vec![5, 7, 10])]),
        Filter::must([Condition::matches("width", !MatchValue::from(vec![5, 7]))]),
        Filter::must([Condition::matches("seen", false)]),
        Filter::must([Condition::matches("tags", "b".to_owned())]),
        Filter::must([Condition::matches("extra.\"some-name\"", "x".to_owned())]),
        Filter::must([Condition::matches("parts[].x", 2)]),
        Filter::must([Condition::matches("parts.x", 2)]),
        Filter::must([Condition::is_empty("tags")]),
        Filter::must([Condition::is_empty("label")]),
        Filter::must([Condition::is_null("label")]),
        Filter::must([Condition::is_null("parts[].z")]),
        Filter::must_not([Condition::is_null("label"), wide()]),
        Filter::should([cat(), wide()]),
        Filter {
            must: vec![wide()],
            ..Filter::should([cat(), Condition::matches("seen", true)])
        },
        Filter::min_should(2, [wide(), cat(), Condition::matches("seen", true)]),
        Filter::must([Condition::has_id([1, 2, 99])]),
        Filter::must([Condition::has_vector("code")]),
        Filter::must([
            Filter::should([cat(), wide()]).into(),
            Condition::has_id([3, 5, 6]),
        ]),
        Filter::must([Condition::nested(
            "parts",
            Filter::must([Condition::matches("x", 1), Condition::matches("y", 2)]),
        )]),
        Filter::must([Condition::nested(
            "parts",
            Filter::must([Condition::matches("x", 2), Condition::matches("y", 2)]),
        )]),
        Filter::must([Condition::matches("a..b", 2)]),
    ]
}
