//! Modules depend downwards, and files of a module not on each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::imports::Crate;

/// Circles of files that are meant, and why.
const ALLOWED: &[(&[&str], &str)] = &[(
    &[
        "sinks/options/src/kind.rs",
        "sinks/options/src/secret.rs",
        "sinks/options/src/table.rs",
        "sinks/options/src/value.rs",
        "sinks/options/src/values.rs",
    ],
    "the grammar is recursive: a table has options, an option reads a value, a value may be a table",
)];

/// The crates whose files are checked for circles, by the folder of their sources.
fn crates() -> Vec<PathBuf> {
    let sinks = std::fs::read_dir(root().join("sinks")).unwrap();
    let sinks = sinks.map(|entry| entry.unwrap().path().join("src")).filter(|path| path.is_dir());
    [root().join("src")].into_iter().chain(sinks).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The module list of ARCHITECTURE.md, bottom layer first: the first word of each line in the block
/// behind `<!-- layers -->`.
fn documented() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, block) = text.split_once("<!-- layers -->").expect("ARCHITECTURE.md has the mark");
    let (_, block) = block.split_once("```text\n").expect("a block follows the mark");
    let (block, _) = block.split_once("```").expect("the block ends");
    block.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Each dependency that does not lead to an earlier module of `layers`, with the files that have it.
fn upward(
    modules: &BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    layers: &[String],
) -> Vec<String> {
    let level = |name: &str| layers.iter().position(|layer| layer == name);
    let mut found = Vec::new();
    for (from, names) in modules {
        for (to, files) in names.iter().filter(|(to, _)| modules.contains_key(*to)) {
            if level(to) >= level(from) {
                found.push(format!("{from} names {to}, in {files:?}"));
            }
        }
    }
    found
}

/// The groups of files that depend on each other, directly or through others.
fn circles(files: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<BTreeSet<String>> {
    let reach = |from: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(file) = next.pop() {
            for to in files.get(file.as_str()).into_iter().flatten() {
                if seen.insert((*to).to_owned()) {
                    next.push((*to).to_owned());
                }
            }
        }
        seen
    };
    let reaches: BTreeMap<&str, BTreeSet<String>> =
        files.keys().map(|file| (*file, reach(file))).collect();
    let mut found = BTreeSet::new();
    for (file, reached) in reaches.iter().filter(|(file, reached)| reached.contains(**file)) {
        let back = |other: &&String| reaches[other.as_str()].contains(*file);
        found.insert(reached.iter().filter(back).cloned().collect::<BTreeSet<_>>());
    }
    found.into_iter().collect()
}

/// Circles of the files in a folder, with paths from the project's root.
fn named_circles(folder: &Path) -> Vec<BTreeSet<String>> {
    let named = |file: &String| {
        folder.join(file).strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
    };
    let circles = circles(&Crate::read(folder).files());
    circles.iter().map(|circle| circle.iter().map(named).collect()).collect()
}

#[test]
fn modules_depend_downwards_in_the_documented_order() {
    let modules = Crate::read(&root().join("src")).modules();
    let layers = documented();
    let mut names: Vec<_> = modules.keys().filter(|name| *name != "main").cloned().collect();
    let mut sorted = layers.clone();
    names.sort();
    sorted.sort();
    assert_eq!(names, sorted, "ARCHITECTURE.md lists each module of src once");
    assert_eq!(upward(&modules, &layers), Vec::<String>::new());
}

#[test]
fn no_file_depends_on_itself_through_others() {
    let allowed: BTreeSet<BTreeSet<String>> = ALLOWED
        .iter()
        .map(|(files, _)| files.iter().map(|file| (*file).to_owned()).collect())
        .collect();
    let found: BTreeSet<BTreeSet<String>> =
        crates().iter().flat_map(|folder| named_circles(folder)).collect();
    assert_eq!(found, allowed, "left: circles of files; right: the allowed ones");
    for (files, reason) in ALLOWED {
        assert!(reason.len() > 20, "{files:?} needs a reason");
    }
}

/// The checks find what they look for, in a crate that has each fault once.
#[test]
fn circles_and_upward_dependencies_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("lib.rs", "pub mod low; pub mod high;");
    write("low/mod.rs", "mod a; mod b; mod c; pub use a::A; pub use b::B; pub use c::C;");
    // A circle through a re-export; and one that exists in tests alone.
    write("low/a.rs", "use super::{B as Other, C}; pub struct A(Other, C);");
    write("low/b.rs", "pub struct B; fn b() -> Option<crate::low::A> { None }");
    write("low/c.rs", "pub struct C; #[cfg(test)] mod tests { use super::super::A; }");
    write("high.rs", "use crate::low::{A, B}; pub fn high(_: A, _: B) {}");
    let faultless = Crate::read(folder.path());
    let layers = ["low".to_owned(), "high".to_owned()];
    assert_eq!(upward(&faultless.modules(), &layers), Vec::<String>::new());
    let circle = BTreeSet::from(["low/a.rs".to_owned(), "low/b.rs".to_owned()]);
    assert_eq!(circles(&faultless.files()), [circle]);
    write("low/c.rs", "pub struct C; impl C { fn up(self) { crate::high::high } }");
    let faulty = Crate::read(folder.path());
    assert_eq!(upward(&faulty.modules(), &layers), ["low names high, in {\"low/c.rs\"}"]);
}
