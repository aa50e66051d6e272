//! Exchanges, routing keys and names of headers are short strings.
//!
//! <https://www.rabbitmq.com/amqp-0-9-1-protocol> section 4.2.5.3

use cosmos_bridge_options::{NameProblem, NameRule};
use cosmos_bridge_sink::Template;

/// The longest short string, in bytes.
pub(crate) const SHORT: usize = 255;

/// The rules for the options `exchange` and `routing_key`.
pub const NAMES: [NameRule; 2] = [EXCHANGE, ROUTING_KEY];
pub(crate) const EXCHANGE: NameRule = NameRule { option: "exchange", problem };
pub(crate) const ROUTING_KEY: NameRule = NameRule { option: "routing_key", problem };

fn problem(name: &Template) -> Option<NameProblem> {
    let bytes: usize = name.texts().map(str::len).sum();
    (bytes > SHORT).then_some(NameProblem {
        message: "this has more bytes than AMQP allows",
        hint: "A name has up to 255 bytes.",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_refused_if_no_change_can_have_it() {
        let longest = "n".repeat(SHORT);
        for (name, is_allowed) in [
            (longest.clone(), true),
            (format!("{longest}{{/region}}"), true),
            (format!("{longest}n"), false),
            (format!("{longest}{{/region}}."), false),
            ("ö".repeat(128), false),
        ] {
            let template = Template::read(&name).unwrap();
            assert_eq!(problem(&template).is_none(), is_allowed, "{name}");
        }
    }
}
