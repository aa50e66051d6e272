//! Names at the target that the target has rules for.

use cosmos_bridge_sink::Template;

use crate::value::Value;

/// An option with the name of a topic, an exchange or the like, and the target's rule for it.
#[derive(Clone, Copy, Debug)]
pub struct NameRule {
    pub option: &'static str,
    /// Why the target has no such name, for all values of the fields and properties of the template.
    pub problem: fn(&Template) -> Option<NameProblem>,
}

/// Why a name cannot be used: a fragment about "it", and what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameProblem {
    pub message: &'static str,
    pub hint: &'static str,
}

impl NameRule {
    /// Reports a template that gives no change a usable name.
    pub fn holds(&self, value: &Value<'_>, template: &Template) -> bool {
        let problem = (self.problem)(template);
        if let Some(NameProblem { message, hint }) = problem {
            value.problem(message, hint);
        }
        problem.is_none()
    }
}
