//! The names that topics may have.
//!
//! <https://github.com/apache/kafka/blob/4.1/clients/src/main/java/org/apache/kafka/common/internals/Topic.java>

use cosmos_bridge_options::{NameProblem, NameRule};
use cosmos_bridge_sink::Template;

/// The longest name, in bytes.
pub(crate) const LONGEST: usize = 249;

/// The rule for the option `topic`.
pub const TOPIC: NameRule = NameRule { option: "topic", problem };

/// True if brokers allow the name.
pub(crate) fn is_topic(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len()) && !matches!(name, "." | "..") && may_be_part(name)
}

fn may_be_part(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn problem(topic: &Template) -> Option<NameProblem> {
    let may_be = match topic.constant() {
        Some(name) => is_topic(name),
        None => {
            topic.texts().all(may_be_part) && topic.texts().map(str::len).sum::<usize>() <= LONGEST
        }
    };
    (!may_be).then_some(NameProblem {
        message: "Kafka has no topics with this name",
        hint: "A name has up to 249 letters, digits, `.`, `_` and `-`.",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_refused_if_no_change_can_have_it() {
        let longest = "t".repeat(LONGEST);
        let cases = [
            ("orders", true),
            ("Order-s_1.", true),
            (longest.as_str(), true),
            ("..", false),
            (".", false),
            ("...", true),
            ("shop orders", false),
            ("größe", false),
            ("{database}.{container}", true),
            // Each change may have a topic that is allowed, or has none.
            ("{/tenant}", true),
            (".{/tenant}", true),
            ("{/tenant}.shop orders", false),
            ("shop/{operation}", false),
        ];
        for (topic, is_allowed) in cases {
            let template = Template::read(topic).unwrap();
            assert_eq!(problem(&template).is_none(), is_allowed, "{topic}");
        }
        for topic in [format!("{longest}t"), format!("{longest}{{/a}}t")] {
            assert!(problem(&Template::read(&topic).unwrap()).is_some(), "{topic}");
        }
    }
}
