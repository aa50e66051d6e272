//! The JSON Schema of the configuration, by an independent validator.

use std::path::Path;

use cosmos_bridge::config::schema;
use jsonschema::Validator;
use serde_json::Value;

use super::{EXAMPLE, FILE, default_line, uncommented, with_each_sample, with_table};

/// Files with mistakes that a schema cannot see.
const BEYOND_FORM: &[&str] = &[
    // What a value means, beyond its form.
    "bad_jq",
    "budget_of_nothing",
    "budget_shares_out_of_range",
    "budget_time_zones",
    "endpoint_with_password",
    "endpoint_with_path",
    "endpoint_without_encryption",
    "four_key_levels",
    "history_of_latest_versions",
    "sweeps",
    "impure_jq",
    "jq_too_deep",
    "key_constant_too_long",
    "log_level_mistyped",
    "path_into_an_array",
    "path_of_the_system",
    "path_with_open_quote",
    "pipelines_without_a_pipeline",
    "regular_expression_in_jq",
    "sink_kafka_topic",
    "sink_amqp_names",
    "template_with_a_bad_field",
    "traces_by_grpc",
    "ttl_that_no_target_accepts",
    "until_with_parts_of_a_second",
    // What a secret or file holds.
    "connection_string_without_encryption",
    "connection_string_without_endpoint",
    "connection_string_without_key",
    "constants_that_no_target_accepts",
    "key_is_the_file_name",
    "mask_with_unreadable_salt",
    "moves_and_copies",
    "secret_file_empty",
    "secret_file_is_a_folder",
    "secret_file_missing",
    "secret_is_not_base64",
    "secret_variable_not_set",
    "sink_secrets",
    "start_before_1970",
    "state_is_a_folder",
    // Rules between options, and between tables.
    "admin_token_in_a_key_vault",
    "all_versions_from_a_time",
    "until_before_start",
    "budget_left_out_of_one_source",
    "budget_schedule_without_time_zone",
    "budget_time_zone_without_schedule",
    "budgets_of_one_sink",
    "budgets_of_one_source",
    "connection_string_and_endpoint",
    "connection_string_in_a_key_vault",
    "credential_and_connection_string",
    "credential_of_no_name",
    "credential_secret_in_a_key_vault",
    "endpoint_missing",
    "endpoint_missing_and_key_unreadable",
    "include_and_exclude",
    "key_and_connection_string",
    "key_level_changes_the_id",
    "key_level_inside_another",
    "key_level_left_out",
    "key_level_twice",
    "key_level_with_two_sources",
    "key_missing",
    "key_vault_without_credentials",
    "mirror_loops",
    "mirror_mistakes",
    "mirror_pairs",
    "no_accounts",
    "no_sinks",
    "no_such_account",
    "no_such_sink",
    "pipelines_in_a_cycle",
    "page_larger_than_default_window",
    "page_larger_than_window",
    "paths_named_twice",
    "renames",
    "renames_that_collide",
    "sink_credential_mistakes",
    "source_is_target",
    "source_is_target_by_address",
    "source_is_target_by_connection_string",
    "state_is_a_key",
    "state_is_a_key_by_default",
    "state_is_the_configuration",
    "the_id_is_changed",
    "the_id_is_left_out",
    "two_pipelines_with_one_state",
    "two_sinks_into_one_container",
    "two_sinks_with_one_state",
    "snapshot_without_a_snapshot",
];

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).unwrap()
}

/// TOML as JSON; points in time become texts.
fn json(text: &str) -> Option<Value> {
    fn convert(value: toml::Value) -> Value {
        match value {
            toml::Value::String(text) => text.into(),
            toml::Value::Integer(number) => number.into(),
            toml::Value::Float(number) => number.into(),
            toml::Value::Boolean(value) => value.into(),
            toml::Value::Datetime(time) => time.to_string().into(),
            toml::Value::Array(items) => items.into_iter().map(convert).collect(),
            toml::Value::Table(entries) => Value::Object(
                entries.into_iter().map(|(name, value)| (name, convert(value))).collect(),
            ),
        }
    }
    text.parse::<toml::Table>().ok().map(|table| convert(table.into()))
}

#[test]
fn the_schema_is_one() {
    jsonschema::draft202012::meta::validate(&schema()).unwrap();
}

#[test]
fn the_example_follows_the_schema() {
    let validator = validator();
    let mut texts =
        vec![FILE.to_owned(), uncommented(|_, line| default_line(line)), with_table(&EXAMPLE)];
    texts.extend(with_each_sample());
    assert!(texts.len() > 20);
    for text in texts {
        let json = json(&text).unwrap();
        let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{text}");
    }
}

#[test]
fn mistakes_of_form_are_rejected() {
    let validator = validator();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/messages");
    let mut accepted = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // A file that is no TOML has no JSON to validate.
        let is_accepted = json(&text).is_some_and(|json| validator.is_valid(&json));
        accepted
            .extend(is_accepted.then(|| path.file_stem().unwrap().to_str().unwrap().to_owned()));
    }
    accepted.sort();
    let mut expected = BEYOND_FORM.to_vec();
    expected.sort_unstable();
    assert_eq!(accepted, expected);
}
