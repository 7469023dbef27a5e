//! No module of `src` reaches itself through others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::arrows::{code, files};
use crate::world::repository;

/// Folders whose modules may still name each other in a circle, each with its reason. The list may only get shorter.
const KNOWN: &[(&str, &str)] = &[
    ("adapters::apps_dir", "the directory keeps the last look at it, and a look reads the directory"),
    ("adapters::engine::", "answers are parsed into what the client defines"),
    ("adapters::registry::", "contact, token and exchange are parts of one client, which holds what they keep"),
];

type Name = Vec<String>;

/// The modules of a crate: each with its code, and what its `pub use` lines pass on.
#[derive(Default)]
struct Crate {
    modules: BTreeMap<Name, String>,
    passed_on: BTreeMap<(Name, String), Name>,
}

impl Crate {
    fn read(src: &Path) -> Self {
        let mut sources = Vec::new();
        files(src, &mut sources);
        let modules = sources.iter().filter_map(|source| {
            let path = source.strip_prefix(src).unwrap().with_extension("");
            let mut name: Name = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            name.pop_if(|last| last == "mod");
            let last = name.last().unwrap();
            let of_tests = last == "tests" || last.ends_with("_tests");
            let is_root = name.len() == 1 && (last == "lib" || last == "main");
            (!of_tests && !is_root).then(|| (name, std::fs::read_to_string(source).unwrap()))
        });
        Self::of(modules)
    }

    fn of(modules: impl Iterator<Item = (Name, String)>) -> Self {
        let modules = modules.map(|(name, text)| (name, code(&text))).collect();
        let mut read = Self { modules, ..Self::default() };
        let names: Vec<_> = read.modules.keys().cloned().collect();
        for name in names {
            for (path, _) in uses(&read.modules[&name]).into_iter().filter(|(_, public)| *public) {
                if let Some(whole) = read.whole(&name, &path) {
                    let last = whole.last().cloned().unwrap_or_default();
                    read.passed_on.insert((name.clone(), last), whole);
                }
            }
        }
        read
    }

    /// A path from the crate's root on; `None` for one that leads to another crate.
    fn whole(&self, module: &Name, path: &[String]) -> Option<Name> {
        let (first, rest) = path.split_first()?;
        let mut base = module.clone();
        match first.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => drop(base.pop()),
            child => {
                base.push(child.to_owned());
                self.modules.contains_key(&base).then_some(())?;
            }
        }
        for part in rest {
            if part == "super" { drop(base.pop()) } else { base.push(part.clone()) }
        }
        Some(base)
    }

    /// The module that has what `path` names.
    fn home(&self, path: &Name) -> Option<Name> {
        let n = (1..=path.len()).rev().find(|n| self.modules.contains_key(&path[..*n]))?;
        let module = path[..n].to_vec();
        let next = path.get(n).and_then(|item| self.passed_on.get(&(module.clone(), item.clone())));
        next.filter(|next| *next != path).map_or(Some(module), |next| self.home(next))
    }

    /// The modules that one names, in `use` lines and in paths.
    fn named(&self, module: &Name) -> BTreeSet<Name> {
        let text = &self.modules[module];
        let mut aliases = BTreeMap::new();
        let mut whole = Vec::new();
        let body = without_uses(text);
        let has_items = body.lines().any(is_item);
        for (path, _) in uses(text).into_iter().filter(|(_, public)| !public || has_items) {
            let Some(path) = self.whole(module, &path) else { continue };
            aliases.insert(path.last().cloned().unwrap_or_default(), path.clone());
            whole.push(path);
        }
        for path in paths(&body) {
            match aliases.get(&path[0]) {
                Some(alias) => whole.push(alias.iter().chain(&path[1..]).cloned().collect()),
                None => whole.extend(self.whole(module, &path)),
            }
        }
        whole.iter().filter_map(|path| self.home(path)).filter(|home| home != module).collect()
    }

    /// The modules that reach themselves.
    fn in_circles(&self) -> BTreeMap<String, Vec<String>> {
        let arrows: BTreeMap<_, _> = self.modules.keys().map(|module| (module, self.named(module))).collect();
        let reached = |from: &Name| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
            while let Some(module) = open.pop() {
                for next in &arrows[module] {
                    if seen.insert(next) {
                        open.push(next);
                    }
                }
            }
            seen
        };
        let reached: BTreeMap<_, _> = self.modules.keys().map(|module| (module, reached(module))).collect();
        let circle = |module: &Name| {
            arrows[module]
                .iter()
                .filter(|next| reached[*next].contains(module))
                .map(|next| next.join("::"))
                .collect::<Vec<_>>()
        };
        self.modules
            .keys()
            .map(|module| (module.join("::"), circle(module)))
            .filter(|(_, circle)| !circle.is_empty())
            .collect()
    }
}

/// The paths of all `use` lines, and whether they are passed on.
fn uses(text: &str) -> Vec<(Name, bool)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("use ") {
        let line = text[..at].rsplit('\n').next().unwrap_or_default().trim();
        if line.is_empty() || (line.starts_with("pub") && line.len() < 30) {
            let tree = text[at + 4..].split(';').next().unwrap_or_default();
            let mut paths = Vec::new();
            branches("", tree.trim(), &mut paths);
            found.extend(paths.into_iter().map(|path| (path, !line.is_empty())));
        }
    }
    found
}

/// The paths of a tree such as `a::{b, c::{d, e}}`.
fn branches(before: &str, tree: &str, found: &mut Vec<Name>) {
    let Some((stem, inner)) = tree.split_once('{') else {
        let path = format!("{before}{}", tree.split(" as ").next().unwrap_or_default().trim());
        found.extend(
            (!path.ends_with("::")).then(|| path.trim_end_matches("::self").split("::").map(str::to_owned).collect()),
        );
        return;
    };
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                branches(&format!("{before}{stem}"), inner[begin..at].trim(), found);
                begin = at + 1;
            }
            _ => {}
        }
    }
}

fn without_uses(text: &str) -> String {
    let mut inside = false;
    let kept = text.lines().filter(|line| {
        let line = line.trim_start();
        let begins = line.starts_with("use ") || (line.starts_with("pub") && line.contains(" use "));
        let drop = inside || begins;
        inside = drop && !line.contains(';');
        !drop
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// Whether a line begins something at the top of a file that is more than a module.
fn is_item(line: &str) -> bool {
    let words = ["fn", "struct", "enum", "const", "static", "type", "impl", "trait", "macro_rules"];
    let mut line = line.split([' ', '<', '!']).skip_while(|word| word.starts_with("pub") || word.starts_with("async"));
    line.next().is_some_and(|word| words.contains(&word))
}

/// What consists of two names or more, with `::` between them.
fn paths(text: &str) -> Vec<Name> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    let paths = words.map(|word| word.trim_matches(':')).filter(|word| word.contains("::"));
    paths.map(|path| path.split("::").map(str::to_owned).collect()).collect()
}

#[test]
fn no_module_reaches_itself() {
    let src = repository("src");
    let mut circles = Crate::read(&src).in_circles();
    for (folder, _) in KNOWN {
        let before = circles.len();
        circles.retain(|module, _| !module.starts_with(folder));
        assert!(circles.len() < before, "no module of {folder} is in a circle any more: shorten the list");
    }
    assert!(circles.is_empty(), "these modules name each other in circles: {circles:#?}");
}

#[test]
fn circles_are_found_in_all_ways_to_name_a_module() {
    let circles = |modules: &[(&str, &str)]| {
        let modules =
            modules.iter().map(|(name, text)| (name.split("::").map(str::to_owned).collect(), (*text).to_owned()));
        Crate::of(modules).in_circles().into_keys().collect::<Vec<_>>().join(" ")
    };
    let table = [
        ("use super::b::B;", "use crate::f::a::{self, A};", "f::a f::b"),
        ("use crate::f::{b::{B, C}};", "fn x() { super::a::x() }", "f::a f::b"),
        ("use super::b;\nfn x() { b::x() }", "use super::Passed;", "f::a f::b"),
        ("use super::b::B;", "use super::Other;", "f f::a f::b"),
        ("use super::b::B;", "// use super::a::A;\n#[cfg(test)]\nmod tests {\n    use crate::f::a::A;\n}", ""),
        ("use std::a::A;", "use super::a::A;", ""),
        ("pub use super::b::B;", "use super::a::A;", ""),
        ("pub use super::b::B;\npub struct A;", "use super::a::A;", "f::a f::b"),
    ];
    for (a, b, expected) in table {
        let parent = "mod a;\nmod b;\npub(crate) use a::Passed;\npub struct Other;";
        assert_eq!(circles(&[("f", parent), ("f::a", a), ("f::b", b)]), expected, "{a} {b}");
    }
}
