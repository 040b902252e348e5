//! The rule against import cycles: no two files of a crate import from each other, directly or through other files. It applies
//! to every library, binary, example and integration test of the workspace.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::finding::Finding;
use super::imports::{self, Edges};
use super::modules::Crate;
use super::text_file::TextFile;

/// The cycles of all crates among `files`.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let texts: BTreeMap<&str, &str> = files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let read = |path: &str| texts.get(path).copied();
    let mut findings = Vec::new();
    for root in roots(&texts) {
        match Crate::load(root, &read) {
            Ok(mut krate) => {
                let edges = imports::edges(&mut krate);
                findings.extend(cycles(&edges).iter().map(|cycle| finding(cycle, &edges)));
            }
            Err(message) => findings.push(Finding::in_file(root, message)),
        }
    }
    findings
}

/// The root files of all crates: those that cargo finds automatically in the folder of each package.
fn roots<'a>(texts: &BTreeMap<&'a str, &'a str>) -> Vec<&'a str> {
    let manifests = texts.iter().filter(|(path, text)| path.ends_with("Cargo.toml") && text.contains("[package]"));
    let folders: Vec<&str> = manifests.map(|(path, _)| path.trim_end_matches("Cargo.toml")).collect();
    let is_root = |path: &str| {
        let within = folders.iter().filter_map(|folder| path.strip_prefix(folder)).min_by_key(|rest| rest.len());
        within.is_some_and(|rest| {
            let parts: Vec<&str> = rest.split('/').collect();
            match parts.as_slice() {
                ["src", "lib.rs" | "main.rs"] => true,
                ["src", "bin", file] | ["tests" | "examples" | "benches", file] => file.ends_with(".rs"),
                ["src", "bin", _, "main.rs"] | ["tests" | "examples" | "benches", _, "main.rs"] => true,
                _ => false,
            }
        })
    };
    texts.keys().copied().filter(|path| is_root(path)).collect()
}

/// Cycles with no import in common, shortest first. The list is empty if and only if the graph has no cycle. A list of all
/// cycles could be exponentially long.
fn cycles(edges: &Edges) -> Vec<Vec<&str>> {
    let mut neighbours: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in edges.keys() {
        neighbours.entry(from).or_default().insert(to);
    }
    let mut found = Vec::new();
    loop {
        let imports = neighbours.iter().flat_map(|(from, targets)| targets.iter().map(move |to| (*from, *to)));
        let through_each = imports.filter_map(|(from, to)| shortest_path(&neighbours, to, from));
        let Some(mut cycle) = through_each.min_by_key(Vec::len) else { return found };
        let first = (0..cycle.len()).min_by_key(|index| cycle[*index]).unwrap_or(0);
        cycle.rotate_left(first);
        for (index, from) in cycle.iter().enumerate() {
            if let Some(targets) = neighbours.get_mut(from) {
                targets.remove(cycle[(index + 1) % cycle.len()]);
            }
        }
        found.push(cycle);
    }
}

/// The files on a shortest path, including both ends.
fn shortest_path<'a>(
    neighbours: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    from: &'a str,
    to: &'a str,
) -> Option<Vec<&'a str>> {
    let mut previous: BTreeMap<&str, &str> = BTreeMap::from([(from, from)]);
    let mut queue = VecDeque::from([from]);
    while let Some(file) = queue.pop_front() {
        if file == to {
            let mut path = vec![file];
            while path[path.len() - 1] != from {
                path.push(previous[path[path.len() - 1]]);
            }
            path.reverse();
            return Some(path);
        }
        for &next in neighbours.get(file).into_iter().flatten() {
            if !previous.contains_key(next) {
                previous.insert(next, file);
                queue.push_back(next);
            }
        }
    }
    None
}

/// `a.rs:3 -> b.rs:5 -> a.rs`: line 3 of `a.rs` imports from `b.rs`, line 5 of `b.rs` from `a.rs`.
fn finding(cycle: &[&str], edges: &Edges) -> Finding {
    let line = |index: usize| {
        let edge = (cycle[index].to_owned(), cycle[(index + 1) % cycle.len()].to_owned());
        edges[&edge]
    };
    let path: Vec<String> = (0..cycle.len()).map(|index| format!("{}:{}", cycle[index], line(index))).collect();
    Finding::at(cycle[0], line(0), format!("import cycle: {} -> {}", path.join(" -> "), cycle[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cycles of a crate with these files in its folder `src`.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let manifest = TextFile { path: "a/Cargo.toml".to_owned(), text: "[package]\nname = \"a\"\n".to_owned() };
        let sources =
            files.iter().map(|(name, text)| TextFile { path: format!("a/src/{name}"), text: (*text).to_owned() });
        let files: Vec<TextFile> = std::iter::once(manifest).chain(sources).collect();
        check(&files).into_iter().map(|finding| finding.message.replace("a/src/", "")).collect()
    }

    const LIB: &str = "mod b;\nmod c;\npub use b::B;\npub use c::C;\n";
    const CYCLE: &str = "import cycle: b.rs:1 -> c.rs:1 -> b.rs";

    #[test]
    fn two_files_that_import_each_other_are_a_cycle() {
        let c = "use crate::b::B; pub struct C(Box<B>);";
        for b in [
            "use crate::c::C; pub struct B(Option<C>);",
            "use super::c::C; pub struct B(Option<C>);",
            "use crate::{c::{C as D}}; pub struct B(Option<D>);",
            "use crate::c::*; pub struct B(Option<C>);",
            "pub struct B(Option<crate::c::C>);",
            "use crate::c; pub struct B(Option<c::C>);",
            "pub struct B; fn f() { use super::c::C; drop(C) }",
            "pub struct B; fn f() { println!(\"{}\", g(&crate::c::C::new().h)) }",
            "pub struct B; impl Drop for B { fn drop(&mut self) { if let Some(super::c::C) = self.0 {} } }",
            "pub struct B; macro_rules! m { () => { $crate::c::C } }",
            "pub struct B; mod inner { use super::super::c::C; }",
            "pub struct B; #[cfg(not(test))] use crate::c::C;",
            "pub struct B; pub use super::c::C;",
        ] {
            assert_eq!(found(&[("lib.rs", LIB), ("b.rs", b), ("c.rs", c)]), [CYCLE], "{b}");
        }
    }

    #[test]
    fn a_cycle_through_a_reexport_has_the_defining_files() {
        let b = "use crate::C; pub struct B(Option<C>);";
        let c = "use crate::B; pub struct C(Box<B>);";
        assert_eq!(found(&[("lib.rs", LIB), ("b.rs", b), ("c.rs", c)]), [CYCLE]);
        // Through two re-exports, one of them of all names, and a private import of the parent.
        let lib = "mod b;\nmod c;\nuse c::C;\n";
        let b = "use super::C; pub struct B(Option<C>);";
        let c = "pub use deep::*;\nmod deep;\n";
        let deep = "use crate::b::B;\npub struct C(Box<B>);";
        let cycle = "import cycle: b.rs:1 -> c/deep.rs:1 -> b.rs";
        assert_eq!(found(&[("lib.rs", lib), ("b.rs", b), ("c/mod.rs", c), ("c/deep.rs", deep)]), [cycle]);
    }

    #[test]
    fn a_facade_is_not_part_of_a_cycle() {
        // Both files import through the root, and only one of them needs the other.
        let files = [("lib.rs", LIB), ("b.rs", "pub struct B;"), ("c.rs", "use crate::B; pub struct C(B);")];
        assert_eq!(found(&files), [] as [&str; 0]);
        // The root defines an item that a child imports, and re-exports that child's item without using it.
        let lib = "mod b;\npub use b::B;\npub struct A;\n";
        assert_eq!(found(&[("lib.rs", lib), ("b.rs", "use crate::A; pub struct B(A);")]), [] as [&str; 0]);
        let lib = "mod b;\npub use b::B;\npub struct A;\npub fn f() -> Option<B> { None }\n";
        let cycle = "import cycle: b.rs:1 -> lib.rs:4 -> b.rs";
        assert_eq!(found(&[("lib.rs", lib), ("b.rs", "use crate::A; pub struct B(A);")]), [cycle]);
    }

    #[test]
    fn tests_comments_and_other_crates_are_no_imports() {
        let c = "use crate::b::B; pub struct C(Box<B>);";
        for b in [
            "pub struct B;\n#[cfg(test)]\nmod tests { use crate::c::C; }",
            "pub struct B;\n#[cfg(test)]\nuse crate::c::C;",
            "pub struct B;\nimpl B { #[cfg(test)] fn f() -> crate::c::C { crate::c::C } }",
            "pub struct B;\n#[test]\nfn f() { crate::c::C; }",
            "//! Like [`crate::c::C`].\n/// Uses `crate::c::C`.\npub struct B; // crate::c::C",
            "use ::c::C; pub struct B(C);",
            "use c::C; pub struct B(C);",
            "use super::c; pub struct B;",
            "pub struct B; fn f() { println!(\"crate::c::C\", x.C, ::c::C) }",
            "pub struct B; pub(in crate::c) fn f() {}",
        ] {
            assert_eq!(found(&[("lib.rs", LIB), ("b.rs", b), ("c.rs", c)]), [] as [&str; 0], "{b}");
        }
        let lib = "mod b;\n#[cfg(test)]\nmod c;\n";
        let files = [("lib.rs", lib), ("b.rs", "use crate::c::C; pub struct B;"), ("c.rs", c)];
        assert_eq!(found(&files), [] as [&str; 0]);
    }

    #[test]
    fn cycles_of_a_graph_share_no_import() {
        let edge = |from: &str, to: &str, line| ((from.to_owned(), to.to_owned()), line);
        let edges = Edges::from([
            edge("a", "b", 1),
            edge("b", "c", 2),
            edge("c", "a", 3),
            edge("c", "d", 4),
            edge("d", "c", 5),
            edge("d", "e", 6),
        ]);
        assert_eq!(cycles(&edges), [vec!["c", "d"], vec!["a", "b", "c"]]);
        let finding = finding(&["a", "b", "c"], &edges);
        assert_eq!(finding.to_string(), "a:1: import cycle: a:1 -> b:2 -> c:3 -> a");
    }

    #[test]
    fn a_file_that_cannot_be_read_fails() {
        assert_eq!(found(&[("lib.rs", "mod b;")]), ["`mod b` in `lib.rs` has no file"]);
        assert_eq!(found(&[("lib.rs", "fn f( {}")]).len(), 1);
    }

    #[test]
    fn every_crate_of_a_package_is_checked() {
        let cycle =
            [("x/b.rs", "use crate::x::c::C; pub struct B(C);"), ("x/c.rs", "use super::b::B; pub struct C(B);")];
        let paths =
            ["src/lib.rs", "src/main.rs", "src/bin/d.rs", "src/bin/d/main.rs", "tests/e/main.rs", "examples/f.rs"];
        for path in paths {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let text = |path: String, text: &str| TextFile { path, text: text.to_owned() };
            let mut files = vec![text("Cargo.toml".to_owned(), "[package]\nname = \"a\"")];
            files.push(text(path.to_owned(), "mod x;"));
            files.push(text(format!("{folder}/x/mod.rs"), "pub mod b;\npub mod c;"));
            files.extend(cycle.iter().map(|(name, body)| text(format!("{folder}/{name}"), body)));
            assert_eq!(check(&files).len(), 1, "{path}");
        }
    }
}
