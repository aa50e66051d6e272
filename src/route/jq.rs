//! jq over documents: what the outputs of an expression mean for a route.

use cosmos_bridge_sink::Document;
use jaq_json::Val;
use serde_json::Value;

use crate::jq::{Expression, of_document, to_json};

/// A compiled expression.
pub(super) struct Jq(Expression);

impl Jq {
    /// The error says why the expression cannot be used.
    pub(super) fn compile(expression: &str) -> Result<Self, String> {
        Expression::compile(expression).map(Self)
    }

    /// The document that the expression returns; `None` if it has no output.
    pub(super) fn transform(&self, document: &Document) -> Result<Option<Document>, String> {
        let output = self.0.run(of_document(&document.fields())?, |outputs| {
            let Some(output) = outputs.next().transpose()? else { return Ok(None) };
            match outputs.next().transpose()? {
                Some(_) => Err("the jq expression returns more than one document".to_owned()),
                None => to_json(&output).map(Some),
            }
        })?;
        match output {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(fields.into())),
            Some(other) => Err(format!(
                "the jq expression returns {}, not an object",
                cosmos_bridge_sink::kind(&other)
            )),
        }
    }

    /// Whether the first output is neither `false` nor `null`.
    pub(super) fn test(&self, document: &Document) -> Result<bool, String> {
        let first =
            self.0.run(of_document(&document.fields())?, |outputs| outputs.next().transpose())?;
        Ok(first.is_some_and(|value| !matches!(value, Val::Null | Val::Bool(false))))
    }
}
