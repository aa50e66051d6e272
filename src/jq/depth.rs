//! How deep a jq expression nests. What compiles and runs it recurses as deep.

use std::collections::HashMap;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::path::Part;

type Tree<'s> = Term<&'s str>;

/// Levels of the tree: the operands of each operator, the entries of an object, the parts of a string or
/// path and the cases of a condition are each one more, and so is everything in a definition at each of its
/// calls.
pub(super) fn depth(term: &Tree<'_>) -> usize {
    Definitions::default().depth(term)
}

/// The depth of each definition so far, by its name.
#[derive(Default)]
struct Definitions<'s>(HashMap<&'s str, usize>);

impl<'s> Definitions<'s> {
    fn depth(&mut self, term: &Tree<'s>) -> usize {
        let mut below = 0;
        if let Term::Def(definitions, _) = term {
            for definition in definitions {
                let depth = self.depth(&definition.body);
                below = depth.max(below);
                // Names may be used again.
                let known = self.0.entry(definition.name).or_default();
                *known = depth.max(*known);
            }
        }
        for child in children(term) {
            below = self.depth(child).max(below);
        }
        let own = match term {
            Term::Obj(entries) => entries.len(),
            Term::Str(_, parts) => parts.len(),
            Term::Path(_, path) => path.0.len(),
            Term::IfThenElse(cases, _) => cases.len(),
            Term::Call(name, _) => self.0.get(name).map_or(1, |depth| depth + 1),
            _ => 1,
        };
        own.max(1).saturating_add(below)
    }
}

/// The terms directly inside of another one, apart from the bodies of definitions.
pub(super) fn children<'t, 's>(term: &'t Tree<'s>) -> Vec<&'t Tree<'s>> {
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => Vec::new(),
        Term::Str(_, parts) => {
            let inner = |part: &'t StrPart<&'s str, Tree<'s>>| match part {
                StrPart::Term(term) => Some(term),
                StrPart::Str(_) | StrPart::Char(_) => None,
            };
            parts.iter().filter_map(inner).collect()
        }
        Term::Arr(inner) => inner.iter().map(AsRef::as_ref).collect(),
        Term::Obj(entries) => {
            entries.iter().flat_map(|(key, value)| pair(key, value.as_ref())).collect()
        }
        Term::Neg(inner) | Term::Label(_, inner) | Term::Def(_, inner) => vec![inner],
        Term::BinOp(left, BinaryOp::Pipe(Some(pattern)), right) => {
            keys(pattern).into_iter().chain([left.as_ref(), right.as_ref()]).collect()
        }
        Term::BinOp(left, _, right) => vec![left, right],
        Term::Fold(_, of, pattern, arguments) => {
            keys(pattern).into_iter().chain([of.as_ref()]).chain(arguments).collect()
        }
        Term::TryCatch(tried, caught) => pair(tried, caught.as_deref()),
        Term::IfThenElse(cases, otherwise) => {
            let cases = cases.iter().flat_map(|(condition, then)| [condition, then]);
            cases.chain(otherwise.as_deref()).collect()
        }
        Term::Call(_, arguments) => arguments.iter().collect(),
        Term::Path(of, path) => {
            let parts = path.0.iter().flat_map(|(part, _)| match part {
                Part::Index(index) => pair(index, None),
                Part::Range(from, to) => from.iter().chain(to).collect(),
            });
            parts.chain([of.as_ref()]).collect()
        }
    }
}

fn pair<'t, T>(one: &'t T, other: Option<&'t T>) -> Vec<&'t T> {
    std::iter::once(one).chain(other).collect()
}

/// The expressions in a pattern, which may nest as well.
fn keys<'t, 's>(pattern: &'t Pattern<&'s str>) -> Vec<&'t Tree<'s>> {
    match pattern {
        Pattern::Var(_) => Vec::new(),
        Pattern::Arr(inner) => inner.iter().flat_map(keys).collect(),
        Pattern::Obj(entries) => entries
            .iter()
            .flat_map(|(key, inner)| std::iter::once(key).chain(keys(inner)))
            .collect(),
    }
}
