//! Matching of routing keys as a topic exchange of AMQP 0-9-1 does it.

/// Whether a routing key matches a binding pattern. Words are separated by dots; `*` is exactly one word, which may be
/// empty (`heartbeat.` matches `heartbeat.*`); `#` is any number of words. The empty text has no words at all.
#[must_use]
pub fn matches(pattern: &str, key: &str) -> bool {
    let pattern: Vec<&str> = words(pattern).collect();
    let key: Vec<&str> = words(key).collect();
    // The classic wildcard walk: on a mismatch go back to the last `#` and let it take one word more.
    let (mut at, mut word, mut back) = (0, 0, None);
    while word < key.len() {
        match pattern.get(at) {
            Some(&"#") => {
                back = Some((at, word));
                at += 1;
            }
            Some(&part) if part == "*" || part == key[word] => {
                at += 1;
                word += 1;
            }
            _ => {
                let Some((hash, taken)) = back else { return false };
                back = Some((hash, taken + 1));
                at = hash + 1;
                word = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|part| *part == "#")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('.').filter(move |_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, word for word.
    fn defined(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), _) => defined(rest, key) || key.split_first().is_some_and(|(_, less)| defined(pattern, less)),
            (Some((part, rest)), Some((word, less))) => (*part == "*" || part == word) && defined(rest, less),
            _ => false,
        }
    }

    /// FAULT 32: the routing key of task updates matched no binding.
    #[test]
    fn fogflows_own_keys_match_as_rabbitmq_matches_them() {
        for (pattern, key, expected) in [
            ("heartbeat.*", "heartbeat.", true),
            ("Worker.001.*", "Worker.001.", true),
            ("Worker.001.*", "Worker.001.1.", false),
            ("Worker.001.1.*", "Worker.001.1.", true),
            ("task.", "task.", true),
            ("task.", "task", false),
            ("#", "", true),
            ("*", "", false),
            ("designer.*", "designer.a.b", false),
            ("designer.#", "designer", true),
        ] {
            assert_eq!(matches(pattern, key), expected, "{pattern} against {key}");
        }
    }

    proptest! {
        #[test]
        fn matching_is_as_defined(pattern in "[ab*#.]{0,9}", key in "[ab.]{0,9}") {
            let pattern_words: Vec<&str> = words(&pattern).collect();
            let key_words: Vec<&str> = words(&key).collect();
            prop_assert_eq!(matches(&pattern, &key), defined(&pattern_words, &key_words));
        }
    }
}
