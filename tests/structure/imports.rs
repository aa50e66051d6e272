//! Reads the source files of a crate and resolves which file names which.
//!
//! A file depends on the file that defines an item it names, through re-exports: `use super::Position`
//! in `model/change.rs` is a dependency on `model/position.rs`, not on `model/mod.rs`. Code behind
//! `cfg(test)` is left out. Methods are not followed: a value may call what its type offers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::Visit;
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, visit};

/// A path in a crate, without the leading `crate`.
type Segments = Vec<String>;

/// The files of one crate, by the path of the module that each one holds.
pub(crate) struct Crate {
    modules: BTreeMap<Segments, Module>,
}

#[derive(Default)]
struct Module {
    /// Relative to the crate's folder.
    file: String,
    /// Names that the module re-exports, and the paths they come from.
    exports: BTreeMap<String, Segments>,
    /// Paths named in the module, resolved to begin at the crate's root.
    named: BTreeSet<Segments>,
    /// Child modules in files of their own that exist in tests alone.
    test_children: Vec<Segments>,
}

impl Crate {
    /// Reads `folder/lib.rs` or `folder/main.rs`-rooted files: every `.rs` file below the folder.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut modules = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let relative = path.strip_prefix(folder).unwrap();
                    let file = relative.to_str().unwrap().to_owned();
                    let text = std::fs::read_to_string(&path).unwrap();
                    let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
                    let at = module_path(&file);
                    let mut found = Found { at: at.clone(), module: Module::default() };
                    found.module.file = file;
                    found.visit_file(&parsed);
                    modules.insert(at, found.module);
                }
            }
        }
        let tests: Vec<Segments> =
            modules.values().flat_map(|module| module.test_children.clone()).collect();
        modules.retain(|at, _| !tests.iter().any(|test| at.starts_with(test)));
        Self { modules }
    }

    /// The top-level modules, each with the other top-level modules that it names and the files that do.
    pub(crate) fn modules(&self) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
        let mut modules: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for (at, module) in self.modules.iter().filter(|(at, _)| !at.is_empty()) {
            let names = modules.entry(at[0].clone()).or_default();
            let named = module.named.iter().chain(module.exports.values());
            let roots = named.filter_map(|path| path.first());
            for root in roots.filter(|root| **root != at[0]) {
                names.entry(root.clone()).or_default().insert(module.file.clone());
            }
        }
        modules
    }

    /// Each file, with the files of the crate that define what it names.
    pub(crate) fn files(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let depends = |module: &Module| {
            let defined = module.named.iter().filter_map(|path| self.defined_in(path.clone()));
            defined.filter(|file| *file != module.file).collect()
        };
        self.modules.values().map(|module| (module.file.as_str(), depends(module))).collect()
    }

    /// The file that defines what a path names; `None` if it is no file of the crate.
    fn defined_in(&self, mut path: Segments) -> Option<&str> {
        // As many steps as a chain of re-exports may have.
        for _ in 0..16 {
            let known = (0..=path.len()).rev().find(|n| self.modules.contains_key(&path[..*n]))?;
            let module = &self.modules[&path[..known]];
            match path.get(known).and_then(|name| module.exports.get(name)) {
                Some(from) => path = from.iter().chain(&path[known + 1..]).cloned().collect(),
                None => return Some(&module.file),
            }
        }
        panic!("{path:?} is re-exported in a circle");
    }
}

/// `a/b.rs` and `a/b/mod.rs` hold the module `a::b`.
fn module_path(file: &str) -> Segments {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let mut parts: Segments = path.split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib")) {
        parts.pop();
    }
    parts
}

/// Collects what one file names.
struct Found {
    at: Segments,
    module: Module,
}

impl Found {
    /// A path as it is written, from the crate's root. One that begins with neither `crate`, `self`
    /// nor `super` is taken for one of a child module: if there is no such module, it leads to the
    /// file itself, which is no dependency.
    fn resolve(&self, written: &[String]) -> Option<Segments> {
        let mut base = match written.first()?.as_str() {
            "crate" => Segments::new(),
            "self" | "super" => self.at.clone(),
            _ => return Some(self.at.iter().chain(written).cloned().collect()),
        };
        let mut rest = &written[1..];
        if written[0] == "super" {
            base.pop();
            while let Some(("super", more)) = rest.split_first().map(|(a, b)| (a.as_str(), b)) {
                base.pop();
                rest = more;
            }
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    fn use_tree(&mut self, tree: &UseTree, before: &[String], is_public: bool) {
        let with = |name: &syn::Ident| before.iter().cloned().chain([name.to_string()]).collect();
        match tree {
            UseTree::Path(path) => {
                let before: Segments = with(&path.ident);
                self.use_tree(&path.tree, &before, is_public);
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.use_tree(item, before, is_public));
            }
            UseTree::Name(name) => {
                let exported = is_public.then_some(&name.ident);
                self.used(&with(&name.ident), exported);
            }
            UseTree::Rename(name) => {
                let exported = is_public.then_some(&name.rename);
                self.used(&with(&name.ident), exported);
            }
            UseTree::Glob(_) => self.used(before, None),
        }
    }

    /// `exported` is the name under which the module re-exports it.
    fn used(&mut self, path: &[String], exported: Option<&syn::Ident>) {
        // `use a::{self}` names the module itself.
        let path = match path.split_last() {
            Some((last, before)) if last == "self" && !before.is_empty() => before,
            _ => path,
        };
        let Some(resolved) = self.resolve(path) else { return };
        match exported {
            Some(name) => drop(self.module.exports.insert(name.to_string(), resolved)),
            None => drop(self.module.named.insert(resolved)),
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    let is_test = |attribute: &Attribute| {
        attribute.path().is_ident("cfg")
            && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    };
    attributes.iter().any(is_test)
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Enum(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &Vec::new(),
        };
        match item {
            Item::Mod(item) if is_test(attributes) && item.content.is_none() => {
                let child = self.at.iter().cloned().chain([item.ident.to_string()]).collect();
                self.module.test_children.push(child);
            }
            _ if is_test(attributes) => {}
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    /// Paths in a module inside the file begin one level deeper.
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.at.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.at.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_public = !matches!(item.vis, syn::Visibility::Inherited);
        self.use_tree(&item.tree, &[], is_public);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let written: Segments = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if written.len() > 1
            && let Some(resolved) = self.resolve(&written)
        {
            self.module.named.insert(resolved);
        }
        visit::visit_path(self, path);
    }
}
