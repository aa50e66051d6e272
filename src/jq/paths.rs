//! Changes and deletes places in a value, as jq does: what is missing on the way to a place is created,
//! and places that are not there are deleted without a word.

use jaq_core::{Error, Exn};
use jaq_json::{Map, Rc, Val};

type Path = Vec<Val>;

/// Indexes beyond it are mistakes: all entries before one are created.
const INDEX_MAX: usize = 1_000_000;

/// Puts a new value at each place, in their order, and deletes the places that have none.
pub(super) fn update<'a>(
    this: Val,
    paths: Vec<Path>,
    mut new: impl FnMut(Val) -> Result<Option<Val>, Exn<'a, Val>>,
) -> Result<Val, Exn<'a, Val>> {
    let (mut this, mut without) = (this, Vec::new());
    for path in paths {
        match new(value_at(&this, &path)?)? {
            Some(value) => this = put(this, &path, value)?,
            None => without.push(path),
        }
    }
    Ok(delete(this, without.iter().map(Vec::as_slice).collect())?)
}

fn value_at(this: &Val, path: &[Val]) -> Result<Val, Error<Val>> {
    let Some((key, rest)) = path.split_first() else { return Ok(this.clone()) };
    let missing = || value_at(&Val::Null, rest);
    match (this, key) {
        (Val::Null, _) => missing(),
        (Val::Obj(entries), Val::TStr(_)) => {
            entries.get(key).map_or_else(missing, |value| value_at(value, rest))
        }
        (Val::Arr(values), Val::Num(index)) => {
            let index = index.as_isize().and_then(|index| place(index, values.len()));
            let value = index.and_then(|index| values.get(index));
            value.map_or_else(missing, |value| value_at(value, rest))
        }
        (Val::Arr(values), Val::Obj(slice)) => {
            let (start, end) = bounds(slice, values.len())?;
            value_at(&Val::Arr(Rc::new(values[start..end].to_vec())), rest)
        }
        (this, key) => Err(Error::index(this.clone(), key.clone())),
    }
}

/// The value with another one at a path.
fn put(this: Val, path: &[Val], value: Val) -> Result<Val, Error<Val>> {
    let Some((key, rest)) = path.split_first() else { return Ok(value) };
    match (this, key) {
        (Val::Null, Val::TStr(_)) => put(Val::obj(Map::default()), path, value),
        (Val::Null, Val::Num(_) | Val::Obj(_)) => put(Val::Arr(Rc::default()), path, value),
        (Val::Obj(mut entries), Val::TStr(_)) => {
            let object = Rc::make_mut(&mut entries);
            // In its place, or at the end.
            let old = object.get_mut(key).map(std::mem::take).unwrap_or_default();
            object.insert(key.clone(), put(old, rest, value)?);
            Ok(Val::Obj(entries))
        }
        (Val::Arr(mut values), Val::Num(index)) => {
            let index = index.as_isize().and_then(|index| place(index, values.len()));
            let Some(index) = index.filter(|index| *index <= INDEX_MAX) else {
                return Err(Error::index(Val::Arr(values), key.clone()));
            };
            let array = Rc::make_mut(&mut values);
            if array.len() <= index {
                array.resize(index + 1, Val::Null);
            }
            array[index] = put(std::mem::take(&mut array[index]), rest, value)?;
            Ok(Val::Arr(values))
        }
        (Val::Arr(mut values), Val::Obj(slice)) => {
            let (start, end) = bounds(slice, values.len())?;
            let array = Rc::make_mut(&mut values);
            let old = Val::Arr(Rc::new(array[start..end].to_vec()));
            match put(old, rest, value)? {
                Val::Arr(new) => drop(array.splice(start..end, new.iter().cloned())),
                other => return Err(Error::typ(other, "array")),
            }
            Ok(Val::Arr(values))
        }
        (this, key) => Err(Error::index(this, key.clone())),
    }
}

/// `delpaths`
pub(super) fn delete_all(this: Val, paths: Val) -> Result<Val, Error<Val>> {
    let Val::Arr(paths) = &paths else { return Err(Error::typ(paths, "array")) };
    let path = |path: &'_ Val| match path {
        Val::Arr(path) => Ok(Rc::clone(path)),
        other => Err(Error::typ(other.clone(), "array")),
    };
    let paths: Vec<_> = paths.iter().map(path).collect::<Result<_, _>>()?;
    delete(this, paths.iter().map(|path| path.as_slice()).collect())
}

fn delete(this: Val, mut paths: Vec<&[Val]>) -> Result<Val, Error<Val>> {
    // From the end, so that no place moves before its turn.
    paths.sort_by(|a, b| b.cmp(a));
    paths.dedup();
    paths.into_iter().try_fold(this, delete_at)
}

/// Deletes one place, if there is one.
fn delete_at(this: Val, path: &[Val]) -> Result<Val, Error<Val>> {
    let Some((key, rest)) = path.split_first() else { return Ok(Val::Null) };
    match (this, key) {
        (Val::Null, _) => Ok(Val::Null),
        (Val::Obj(mut entries), Val::TStr(_)) => {
            let object = Rc::make_mut(&mut entries);
            if rest.is_empty() {
                object.shift_remove(key);
            } else if let Some(inner) = object.get_mut(key) {
                *inner = delete_at(std::mem::take(inner), rest)?;
            }
            Ok(Val::Obj(entries))
        }
        (Val::Arr(mut values), Val::Num(index)) => {
            let index = index.as_isize().and_then(|index| place(index, values.len()));
            if let Some(index) = index.filter(|index| *index < values.len()) {
                let array = Rc::make_mut(&mut values);
                if rest.is_empty() {
                    array.remove(index);
                } else {
                    array[index] = delete_at(std::mem::take(&mut array[index]), rest)?;
                }
            }
            Ok(Val::Arr(values))
        }
        (Val::Arr(mut values), Val::Obj(slice)) => {
            let (start, end) = bounds(slice, values.len())?;
            let array = Rc::make_mut(&mut values);
            let old: Vec<_> = array.drain(start..end).collect();
            if !rest.is_empty()
                && let Val::Arr(left) = delete_at(Val::Arr(Rc::new(old)), rest)?
            {
                drop(array.splice(start..start, left.iter().cloned()));
            }
            Ok(Val::Arr(values))
        }
        (this, key) => Err(Error::index(this, key.clone())),
    }
}

/// The place of an index, which counts from the end if it is negative; `None` before the first.
fn place(index: isize, length: usize) -> Option<usize> {
    usize::try_from(index).ok().or_else(|| length.checked_sub(index.unsigned_abs()))
}

/// The places of a slice, `{"start": .., "end": ..}`, in an array of this length.
fn bounds(slice: &Map, length: usize) -> Result<(usize, usize), Error<Val>> {
    let bound =
        |name: &str, default: usize| match slice.get(&Val::utf8_str(name.as_bytes().to_vec())) {
            None | Some(Val::Null) => Ok(default),
            Some(Val::Num(index)) => {
                let index = index.as_isize().unwrap_or(0);
                Ok(place(index, length).unwrap_or(0).min(length))
            }
            Some(other) => Err(Error::typ(other.clone(), "integer")),
        };
    let (start, end) = (bound("start", 0)?, bound("end", length)?);
    Ok((start, end.max(start)))
}
