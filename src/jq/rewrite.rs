//! Rewrites expressions: puts steps where work repeats, and gives operators the meaning that they have
//! in jq.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Opt, Part, Path};

use super::depth::children;
use super::limits::STEP;

type Tree<'s> = Term<&'s str>;

/// A variable that no expression can name.
const VALUE: &str = "$@value";

/// How far the meaning is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// As written: definitions of the interpreter and our own.
    Kept,
    /// As in jq: what a user writes.
    OfJq,
}

/// Rewrites one expression or definition.
pub(super) struct Rewriter<'s> {
    meaning: Meaning,
    /// What calls may refer to, the innermost last.
    scope: Vec<Callable<'s>>,
}

/// A definition, or a filter that is an argument of one.
struct Callable<'s> {
    name: &'s str,
    arguments: usize,
    /// For definitions that count their calls: the number of a call of it from here.
    call: Option<Tree<'s>>,
}

/// The argument that counts the calls of a definition in one another.
const CALL: &str = "$@call";

impl<'s> Rewriter<'s> {
    pub(super) fn new(meaning: Meaning) -> Self {
        Self { meaning, scope: Vec::new() }
    }

    /// Puts a step before the body. A recursive definition that has filters as arguments gets one more
    /// argument, which counts its calls in one another.
    pub(super) fn definition(&mut self, definition: Def<&'s str>) -> Def<&'s str> {
        let Def { name, mut args, body } = definition;
        let arguments = args.len();
        let has_filters = args.iter().any(|name| !name.starts_with('$'));
        let counts = has_filters && calls(&body, name, arguments);
        let outer = self.scope.len();
        let next = || infix(Term::Var(CALL), BinaryOp::Pipe(None), Term::Call("@deeper", vec![]));
        self.scope.push(Callable { name, arguments, call: counts.then(next) });
        let filters = args.iter().map(|name| Callable {
            name: name.trim_start_matches('$'),
            arguments: 0,
            call: None,
        });
        self.scope.extend(filters);
        let body = after_step(self.term(body));
        self.scope.truncate(outer);
        self.scope.push(Callable { name, arguments, call: counts.then_some(Term::Num("0")) });
        if counts {
            args.push(CALL);
        }
        Def { name, args, body }
    }

    /// The term with a step before everything that may run more than once for one run of the term.
    ///
    /// Steps are before bodies of definitions, arguments of calls, right operands, entries of objects and
    /// updates of folds; behind what has many outputs by itself; and behind new arrays
    /// and objects, whose levels are looked at. No step is behind a call, so that
    /// calls at the end of a definition take no stack.
    pub(super) fn term(&mut self, this: Tree<'s>) -> Tree<'s> {
        match this {
            Term::Id | Term::Num(_) | Term::Break(_) | Term::Var(_) => this,
            Term::Recurse => before_step(this),
            Term::Str(format, parts) => {
                let part = |part| match part {
                    StrPart::Term(inner) => {
                        let plain = Term::Call("@plain", Vec::new());
                        StrPart::Term(infix(self.repeated(inner), BinaryOp::Pipe(None), plain))
                    }
                    text => text,
                };
                Term::Str(format, parts.into_iter().map(part).collect())
            }
            Term::Arr(inner) => before_step(Term::Arr(inner.map(|inner| self.boxed(inner)))),
            Term::Obj(entries) => {
                let entry = |(key, value): (_, Option<_>)| match value {
                    // `{$x}` and `{name}` have a meaning of their own.
                    None => (key, None),
                    Some(value) => (self.repeated(key), Some(self.repeated(value))),
                };
                before_step(Term::Obj(entries.into_iter().map(entry).collect()))
            }
            Term::Neg(inner) => Term::Neg(self.boxed(inner)),
            Term::BinOp(left, operator, right) => {
                let left = self.term(*left);
                let operator = match operator {
                    BinaryOp::Pipe(Some(bound)) => BinaryOp::Pipe(Some(self.pattern(bound))),
                    other => other,
                };
                binary(left, operator, self.repeated(*right), self.meaning)
            }
            Term::Label(name, inner) => Term::Label(name, self.boxed(inner)),
            Term::Fold(name, of, bound, arguments) => {
                let (of, bound) = (self.boxed(of), self.pattern(bound));
                let mut arguments = self.all(arguments);
                // The last output of an update is the next state; without one it is null.
                if let (Meaning::OfJq, "reduce", [_, update]) =
                    (self.meaning, name, arguments.as_mut_slice())
                {
                    *update = Term::Call("@last", vec![std::mem::take(update)]);
                }
                Term::Fold(name, of, bound, arguments)
            }
            Term::TryCatch(tried, caught) => {
                Term::TryCatch(self.boxed(tried), caught.map(|caught| self.boxed(caught)))
            }
            Term::IfThenElse(cases, otherwise) => {
                let case = |(condition, then)| (self.term(condition), self.term(then));
                let cases = cases.into_iter().map(case).collect();
                Term::IfThenElse(cases, otherwise.map(|otherwise| self.boxed(otherwise)))
            }
            Term::Def(definitions, inner) => {
                let outer = self.scope.len();
                let definitions = definitions.into_iter().map(|d| self.definition(d)).collect();
                let inner = self.boxed(inner);
                self.scope.truncate(outer);
                Term::Def(definitions, inner)
            }
            Term::Call(name, arguments) => self.call(name, arguments),
            Term::Path(of, path) => self.path(*of, path),
        }
    }

    /// The term, with a step before it.
    fn repeated(&mut self, this: Tree<'s>) -> Tree<'s> {
        after_step(self.term(this))
    }

    #[expect(clippy::boxed_local, reason = "terms are in boxes where this is called")]
    fn boxed(&mut self, this: Box<Tree<'s>>) -> Box<Tree<'s>> {
        Box::new(self.term(*this))
    }

    fn all(&mut self, terms: Vec<Tree<'s>>) -> Vec<Tree<'s>> {
        terms.into_iter().map(|term| self.repeated(term)).collect()
    }

    fn call(&mut self, name: &'s str, arguments: Vec<Tree<'s>>) -> Tree<'s> {
        let count = arguments.len();
        let is_it = |callable: &&Callable<'_>| (callable.name, callable.arguments) == (name, count);
        let called = self.scope.iter().rev().find(is_it);
        let is_range = name == "range" && count == 3 && called.is_none();
        let number = called.and_then(|called| called.call.clone());
        let looks_deep = called.is_none() && LOOKING_DEEP.contains(&name);
        let mut arguments = self.all(arguments);
        if looks_deep {
            arguments = arguments.into_iter().map(limited).collect();
        }
        arguments.extend(number);
        let call = Term::Call(name, arguments);
        match (is_range, looks_deep) {
            (true, _) => before_step(call),
            (_, true) => infix(Term::Call("@limited", vec![]), BinaryOp::Pipe(None), call),
            _ => call,
        }
    }

    fn path(&mut self, of: Tree<'s>, path: Path<Tree<'s>>) -> Tree<'s> {
        let of = self.term(of);
        let part = |(part, opt)| {
            let part = match part {
                Part::Index(index) => Part::Index(self.term(index)),
                Part::Range(from, to) => {
                    Part::Range(from.map(|from| self.term(from)), to.map(|to| self.term(to)))
                }
            };
            (part, opt)
        };
        let parts: Vec<_> = path.0.into_iter().map(part).collect();
        let many = parts.iter().any(|(part, _)| matches!(part, Part::Range(None, None)));
        let path = match self.meaning {
            Meaning::OfJq if parts.iter().all(|(part, _)| is_constant(part)) => {
                null_slices(of, parts)
            }
            _ => Term::Path(Box::new(of), Path(parts)),
        };
        if many { before_step(path) } else { path }
    }

    fn pattern(&mut self, bound: Pattern<&'s str>) -> Pattern<&'s str> {
        match bound {
            Pattern::Var(name) => Pattern::Var(name),
            Pattern::Arr(inner) => {
                Pattern::Arr(inner.into_iter().map(|inner| self.pattern(inner)).collect())
            }
            Pattern::Obj(entries) => {
                let entry = |(key, inner)| (self.term(key), self.pattern(inner));
                Pattern::Obj(entries.into_iter().map(entry).collect())
            }
        }
    }
}

/// Filters that look at all of a value at once.
const LOOKING_DEEP: [&str; 17] = [
    "IN",
    "bsearch",
    "contains",
    "group_by",
    "index",
    "indices",
    "inside",
    "max",
    "max_by",
    "min",
    "min_by",
    "rindex",
    "sort",
    "sort_by",
    "tobytes",
    "unique",
    "unique_by",
];

/// The term, which fails if its output stands for too many values.
fn limited(this: Tree<'_>) -> Tree<'_> {
    match this {
        Term::Num(_) => this,
        this => infix(this, BinaryOp::Pipe(None), Term::Call("@limited", Vec::new())),
    }
}

/// Whether a term calls a filter of this name.
fn calls(term: &Tree<'_>, name: &str, arguments: usize) -> bool {
    let is_call =
        matches!(term, Term::Call(called, given) if *called == name && given.len() == arguments);
    let in_definitions = match term {
        Term::Def(definitions, _) => definitions.iter().any(|d| calls(&d.body, name, arguments)),
        _ => false,
    };
    is_call
        || in_definitions
        || children(term).into_iter().any(|child| calls(child, name, arguments))
}

/// True if a part of a path does not depend on the value.
fn is_constant(part: &Part<Tree<'_>>) -> bool {
    let is_constant = |index: &Tree<'_>| match index {
        Term::Num(_) | Term::Var(_) => true,
        Term::Neg(inner) => matches!(**inner, Term::Num(_)),
        Term::Str(None, parts) => !parts.iter().any(|part| matches!(part, StrPart::Term(_))),
        _ => false,
    };
    match part {
        Part::Index(index) => is_constant(index),
        Part::Range(from, to) => from.iter().chain(to).all(is_constant),
    }
}

/// A path in which slices of null are null: `of | if . == null then . else .[from:to] end`.
fn null_slices<'s>(of: Tree<'s>, parts: Vec<(Part<Tree<'s>>, Opt)>) -> Tree<'s> {
    let mut done = of;
    let mut plain = Vec::new();
    for (part, opt) in parts {
        if !matches!(part, Part::Range(Some(_), _) | Part::Range(_, Some(_))) {
            plain.push((part, opt));
            continue;
        }
        let before = Term::Path(Box::new(done), Path(std::mem::take(&mut plain)));
        let is_null = Term::Call("@is_null", Vec::new());
        let slice = Term::Path(Box::new(Term::Id), Path(vec![(part, opt)]));
        let slice = Term::IfThenElse(vec![(is_null, Term::Id)], Some(Box::new(slice)));
        done = infix(before, BinaryOp::Pipe(None), slice);
    }
    Term::Path(Box::new(done), Path(plain))
}

/// Operators whose meaning differs: assignments create what is missing on the way to their places and
/// take the first new value, `%` is of whole numbers, a division by zero fails, and `*` limits the size
/// of what it repeats.
fn binary<'s>(
    left: Tree<'s>,
    operator: BinaryOp<&'s str>,
    right: Tree<'s>,
    meaning: Meaning,
) -> Tree<'s> {
    if meaning == Meaning::Kept {
        return infix(left, operator, right);
    }
    let value = || Term::Var(VALUE);
    // The new value is that of the whole document, not of the place.
    let assign = |left, new, right| {
        let update = Term::Call("@update", vec![left, new]);
        infix(right, BinaryOp::Pipe(Some(Pattern::Var(VALUE))), update)
    };
    match operator {
        BinaryOp::Math(math) => arithmetic(left, math, right),
        BinaryOp::Cmp(_) => infix(limited(left), operator, limited(right)),
        BinaryOp::Update => Term::Call("@update", vec![left, right]),
        BinaryOp::UpdateMath(math) => assign(left, arithmetic(Term::Id, math, value()), right),
        BinaryOp::Assign => assign(left, value(), right),
        BinaryOp::UpdateAlt => assign(left, infix(Term::Id, BinaryOp::Alt, value()), right),
        operator => infix(left, operator, right),
    }
}

fn arithmetic<'s>(left: Tree<'s>, math: Math, right: Tree<'s>) -> Tree<'s> {
    match math {
        Math::Rem => Term::Call("@remainder", vec![left, right]),
        Math::Mul => Term::Call("@product", vec![left, right]),
        Math::Div => Term::Call("@quotient", vec![left, right]),
        math => infix(left, BinaryOp::Math(math), right),
    }
}

fn infix<'s>(left: Tree<'s>, operator: BinaryOp<&'s str>, right: Tree<'s>) -> Tree<'s> {
    Term::BinOp(Box::new(left), operator, Box::new(right))
}

/// `STEP | this`
fn after_step(this: Tree<'_>) -> Tree<'_> {
    match this {
        Term::Id | Term::Num(_) | Term::Var(_) => this,
        this => infix(Term::Call(STEP, Vec::new()), BinaryOp::Pipe(None), this),
    }
}

/// `this | STEP`
fn before_step(this: Tree<'_>) -> Tree<'_> {
    infix(this, BinaryOp::Pipe(None), Term::Call(STEP, Vec::new()))
}
