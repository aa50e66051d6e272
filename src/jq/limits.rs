//! What one run of an expression may use: steps, stack, and the size of values.
//!
//! The interpreter can be neither interrupted nor asked how far it is. So [`super::rewrite`] puts the
//! filter [`STEP`] wherever work repeats, and this filter counts.

use std::cell::Cell;

use jaq_core::box_iter::box_once;
use jaq_core::data::HasLut;
use jaq_core::native::{Fun, v};
use jaq_core::{DataT, Error, Exn, Lut, Native};
use jaq_json::Val;
use jaq_std::ValT as _;

use super::patterns::Regexes;

/// The name of the filter that counts, that of a format, and there is no such format.
pub(super) const STEP: &str = "@step";

/// A document of the largest size takes some millions in the worst expressions that are of use.
pub(super) const STEPS_MAX: u32 = 10_000_000;

/// Calls of a recursive definition in one another, if it has filters as arguments: each call keeps those of
/// the calls around it, and they are dropped one inside the other.
const CALLS_MAX: isize = 10_000;

/// Bytes of stack below the call of the expression. Threads that run expressions have several times as
/// much (`STACK_BYTES` in `src/main.rs`), because between two steps the stack grows with the expression.
const STACK_MAX: usize = 4 * 1024 * 1024;

/// Entries of an array or object, and bytes of a string. A document has at most 2 MiB.
pub(super) const SIZE_MAX: usize = 32 * 1024 * 1024;

/// Values in a text or output that is made of one value. The interpreter shares equal parts, so that a few
/// steps make a value that stands for more than any memory holds.
pub(super) const VALUES_MAX: usize = 4 * 1024 * 1024;

/// Levels of a value. Documents have at most 256; a value that is much deeper would end the process when it
/// is dropped.
const LEVELS_MAX: usize = 300;

/// Names and indexes in a path.
const PATH_MAX: usize = 10_000;

/// Levels are looked at this often, because one step adds one; a prime, so that no expression of several
/// steps hides its deep value.
const LEVELS_EVERY: u32 = 257;

/// What filters of an expression operate on.
pub(super) struct Limited;

impl DataT for Limited {
    type V<'a> = Val;
    type Data<'a> = &'a Run<'a>;
}

/// One run of an expression.
pub(super) struct Run<'a> {
    pub(super) lut: &'a Lut<Limited>,
    pub(super) regexes: &'a Regexes,
    steps_max: u32,
    steps: Cell<u32>,
    /// Of these, with an array or object.
    containers: Cell<u32>,
    /// The address of a value on the stack of the caller.
    base: usize,
    exceeded: Cell<Option<Limit>>,
}

impl<'a> HasLut<'a, Limited> for &'a Run<'a> {
    fn lut(&self) -> &'a Lut<Limited> {
        self.lut
    }
}

/// A limit of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Limit {
    #[error("it takes more than {0} steps")]
    Steps(u32),
    #[error("it recurses too deep")]
    Depth,
    #[error("a value nests deeper than {LEVELS_MAX} levels")]
    Levels,
    #[error("a value is larger than 32 MiB, or than {VALUES_MAX} values")]
    Size,
}

impl<'a> Run<'a> {
    pub(super) fn new(lut: &'a Lut<Limited>, regexes: &'a Regexes, steps_max: u32) -> Self {
        let marker = 0_u8;
        let base = std::ptr::from_ref(&marker).addr();
        Self {
            lut,
            regexes,
            steps_max,
            steps: Cell::new(0),
            containers: Cell::new(0),
            base,
            exceeded: Cell::new(None),
        }
    }

    /// The limit that was exceeded, also if the expression caught the error.
    pub(super) fn exceeded(&self) -> Option<Limit> {
        self.exceeded.get()
    }

    /// Counts one step with this value.
    fn step(&self, value: &Val) -> Result<(), Error<Val>> {
        let marker = 0_u8;
        let here = std::ptr::from_ref(&marker).addr();
        let steps = self.steps.get() + 1;
        self.steps.set(steps.min(self.steps_max));
        let size = match value {
            Val::TStr(text) => text.len(),
            Val::BStr(bytes) => bytes.len(),
            Val::Arr(values) => values.len(),
            Val::Obj(entries) => entries.len(),
            Val::Null | Val::Bool(_) | Val::Num(_) => 0,
        };
        if steps > self.steps_max {
            return Err(self.exceed(Limit::Steps(self.steps_max)));
        }
        if self.base.abs_diff(here) > STACK_MAX {
            return Err(self.exceed(Limit::Depth));
        }
        if size > SIZE_MAX {
            return Err(self.exceed(Limit::Size));
        }
        if matches!(value, Val::Arr(_) | Val::Obj(_)) {
            let containers = self.containers.get() + 1;
            self.containers.set(containers);
            if containers.is_multiple_of(LEVELS_EVERY) && is_too_deep(value) {
                return Err(self.exceed(Limit::Levels));
            }
        }
        Ok(())
    }

    /// Looks at the length of a path now and then; `length` counts up to a limit.
    fn path(&self, length: impl Fn(usize) -> usize) -> Result<(), Error<Val>> {
        let is_due = self.steps.get().is_multiple_of(LEVELS_EVERY);
        if is_due && length(PATH_MAX + 1) > PATH_MAX {
            return Err(self.exceed(Limit::Levels));
        }
        Ok(())
    }

    /// Notes that a limit is exceeded. All further steps fail as well: an expression that catches the
    /// error ends soon.
    pub(super) fn exceed(&self, limit: Limit) -> Error<Val> {
        self.exceeded.set(Some(self.exceeded.get().unwrap_or(limit)));
        self.steps.set(self.steps_max);
        Error::str(limit)
    }
}

/// Whether a value has too many levels, as far as a part of it shows: what is first or last at each level.
fn is_too_deep(value: &Val) -> bool {
    is_deep_at(value, false) || is_deep_at(value, true)
}

fn is_deep_at(value: &Val, last_first: bool) -> bool {
    /// Values that are looked at.
    const LOOKS: usize = 8 * 1024;
    let mut looks = 0;
    let mut next = vec![(value, 1)];
    while let Some((value, level)) = next.pop() {
        looks += 1;
        if level > LEVELS_MAX {
            return true;
        }
        if looks > LOOKS {
            return false;
        }
        let inner = level + 1;
        // The one that is added last is the next one.
        match value {
            Val::Arr(values) if last_first => next.extend(values.iter().map(|one| (one, inner))),
            Val::Arr(values) => next.extend(values.iter().rev().map(|one| (one, inner))),
            Val::Obj(entries) if last_first => {
                next.extend(entries.values().map(|one| (one, inner)));
            }
            Val::Obj(entries) => next.extend(entries.values().rev().map(|one| (one, inner))),
            _ => {}
        }
    }
    false
}

/// Whether a value stands for more values than it may.
pub(super) fn is_too_large(value: &Val) -> bool {
    let mut count = 0;
    let mut next = vec![value];
    while let Some(value) = next.pop() {
        count += 1;
        if count + next.len() > VALUES_MAX {
            return true;
        }
        match value {
            Val::Arr(values) => next.extend(values.iter()),
            Val::Obj(entries) => next.extend(entries.values()),
            _ => {}
        }
    }
    false
}

/// [`STEP`]: the identity, which fails once a limit is exceeded.
pub(super) fn step() -> Fun<Limited> {
    let native = Native::<Limited>::new(|(context, value)| {
        box_once(context.data().step(&value).map(|()| value).map_err(Exn::from))
    });
    let native = native.with_paths(|(context, (value, path))| {
        let run = context.data();
        let length = |most| path.iter().take(most).count();
        let stepped = run.step(&value).and_then(|()| run.path(length));
        box_once(stepped.map(|()| (value, path)).map_err(Exn::from))
    });
    let native = native.with_update(|(context, value), update| match context.data().step(&value) {
        Ok(()) => update(value),
        Err(error) => box_once(Err(Exn::from(error))),
    });
    (STEP, v(0), native)
}

/// `@deeper`: the number of the next call inside the call with this number.
pub(super) fn deeper() -> Fun<Limited> {
    let native = Native::<Limited>::new(|(context, value)| {
        let call = value.as_isize().unwrap_or(0);
        box_once(if call < CALLS_MAX {
            Ok(Val::from(call + 1))
        } else {
            Err(Exn::from(context.data().exceed(Limit::Depth)))
        })
    });
    ("@deeper", v(0), native)
}
