//! What a run is told in one request, within the server's limits.

use serde::{Deserialize, Serialize};

/// Most metrics in a request.
pub(crate) const METRICS_MAX: usize = 1000;
/// Most parameters in a request, and most tags.
pub(crate) const ENTRIES_MAX: usize = 100;
/// Characters of a parameter's value: on today's servers, and on older ones.
pub(crate) const PARAM_CHARS_MAX: [usize; 3] = [6000, 500, 250];
/// Characters of a tag's value, also on older servers.
const TAG_CHARS_MAX: usize = 5000;
/// Bytes of a request, with some room for what stands around the entries.
const BYTES_MAX: usize = 1_000_000 - 1_000;
/// What a text that was cut ends with.
const CUT: &str = " .. (cut)";

/// A number at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Metric {
    pub(crate) key: &'static str,
    /// Finite.
    pub(crate) value: f64,
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
    pub(crate) step: i64,
}

/// A parameter or a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}

impl Entry {
    pub(crate) fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }

    /// A tag whose value is not too long.
    pub(crate) fn tag(key: impl Into<String>, value: &str) -> Self {
        Self::new(key, cut(value, TAG_CHARS_MAX))
    }

    /// Whether a server that was told this parameter has it so: cut by this program, or by a server of its own accord. What differs only
    /// beyond the cut cannot be told apart.
    pub(crate) fn is_kept_as(&self, kept: &str) -> bool {
        let chars = kept.chars().count();
        let is_cut = || cut(&self.value, chars) == kept || self.value.starts_with(kept);
        self.value == kept || PARAM_CHARS_MAX.contains(&chars) && is_cut()
    }
}

/// The content of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Batch {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) metrics: Vec<Metric>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) params: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<Entry>,
}

impl Batch {
    /// Parameters in as many requests as they take, their values cut at so many characters.
    pub(crate) fn of_params(params: &[Entry], chars_max: usize) -> Vec<Self> {
        let mut batches: Vec<Self> = Vec::new();
        let mut bytes = 0;
        for Entry { key, value } in params {
            let param = Entry::new(key, cut(value, chars_max));
            let len = serde_json::to_vec(&param).map_or(BYTES_MAX, |json| json.len() + 1);
            match batches.last_mut().filter(|batch| batch.params.len() < ENTRIES_MAX && bytes + len <= BYTES_MAX) {
                Some(batch) => {
                    batch.params.push(param);
                    bytes += len;
                }
                None => {
                    batches.push(Self { params: vec![param], ..Self::default() });
                    bytes = len;
                }
            }
        }
        batches
    }
}

/// The text, or its beginning with a word that there was more.
fn cut(text: &str, chars_max: usize) -> String {
    match text.chars().count() > chars_max {
        false => text.to_owned(),
        true => text.chars().take(chars_max - CUT.len()).chain(CUT.chars()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params_of(batches: &[Batch]) -> Vec<Entry> {
        batches.iter().flat_map(|batch| batch.params.clone()).collect()
    }

    #[test]
    fn a_request_has_a_hundred_parameters_at_most_and_a_million_bytes() {
        let many: Vec<_> = (0..250).map(|number| Entry::new(format!("p{number}"), "1")).collect();
        let batches = Batch::of_params(&many, 6000);
        assert_eq!(batches.iter().map(|batch| batch.params.len()).collect::<Vec<_>>(), [100, 100, 50]);
        assert_eq!(params_of(&batches), many);
        // Four bytes a character.
        let large: Vec<_> = (0..90).map(|number| Entry::new(format!("p{number}"), "\u{1F9E0}".repeat(5000))).collect();
        let batches = Batch::of_params(&large, 6000);
        let largest = batches.iter().map(|batch| serde_json::to_vec(batch).unwrap().len()).max().unwrap();
        assert!(batches.len() > 1 && largest <= 1_000_000, "{largest}");
        assert_eq!(params_of(&batches), large);
    }

    #[test]
    fn a_value_that_is_too_long_says_that_it_was_cut() {
        assert_eq!(cut("short", 9), "short");
        let long = cut(&"ä".repeat(600), 500);
        assert!(long.chars().count() == 500 && long.ends_with("ä .. (cut)"), "{long}");
    }

    #[test]
    fn a_value_that_was_cut_is_still_the_same() {
        let long = Entry::new("p", "ä".repeat(7000));
        for chars_max in PARAM_CHARS_MAX {
            assert!(long.is_kept_as(&cut(&long.value, chars_max)));
            assert!(long.is_kept_as(&"ä".repeat(chars_max)));
            assert!(!long.is_kept_as(&"o".repeat(chars_max)));
        }
        let short = Entry::new("p", "ab");
        assert!(short.is_kept_as("ab") && !short.is_kept_as("a") && !short.is_kept_as(""));
    }
}
