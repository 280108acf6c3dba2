//! The walls of the house: who may know whom, and what no file may contain.
//!
//! A room uses rooms on lower floors only, and names them `crate::room`. Rooms of one floor do not know each
//! other.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. A part of a room may stand on a floor of its own: `room::part`.
const FLOORS: &[&[&str]] = &[
    &["model"],
    &["world", "metrics", "supervisor"],
    &["vault", "signature"],
    &["store", "smartcar"],
    &["budget"],
    &["tokens", "ingest", "projector"],
    &["connect", "vehicles", "commands", "operate", "tls"],
    &["compat"],
    &["web"],
    &["config"],
    &[], // Free.
    &["app"],
    &["cli"],
    &["main"],
];

/// Stands beside the house: were it to share code with the gateway, the two would share their errors.
const BESIDE: &str = "simulator";
const BESIDE_USES: [&str; 2] = ["world", "model::Timestamp"];
const BESIDE_USED_BY: &str = "cli";

const LONGEST_FILE: usize = 450;

const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".git",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "askama.toml",
    "benches",
    "clippy.toml",
    "config.example.toml",
    "deny.toml",
    "examples",
    "fuzz",
    "rustfmt.toml",
    "src",
    "tests",
];

/// What is forbidden everywhere, and in code that users run. Split, because this file is searched too.
const NOWHERE: [&str; 4] = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!("), concat!("#[", "ignore")];
const NOT_OUTSIDE_TESTS: &str = concat!(".unwrap", "()");

#[test]
fn rooms_use_lower_floors_only() {
    let mut broken = Vec::new();
    for file in sources("src") {
        let from = room(&file.path);
        for mention in file.mentions() {
            let to = room(&mention);
            let allowed = if from == BESIDE {
                to == BESIDE || BESIDE_USES.iter().any(|used| is_under(&mention, used))
            } else if to == BESIDE {
                from == BESIDE_USED_BY
            } else {
                from == to || floor(&from).is_some_and(|from| floor(&to).is_some_and(|to| to < from))
            };
            if !allowed {
                broken.push(format!("{from} -> {} in {}", if from == BESIDE { mention } else { to }, file.name));
            }
        }
        if from != BESIDE && from != "lib" && floor(&from).is_none() {
            broken.push(format!("{from} is on no floor: give it one"));
        }
    }
    none(broken);
}

#[test]
fn no_file_holds_what_is_forbidden() {
    let mut broken = Vec::new();
    for file in ["src", "tests", "examples", "benches", "fuzz"].into_iter().flat_map(sources) {
        let name = &file.name;
        broken.extend(NOWHERE.iter().filter(|word| file.code.contains(*word)).map(|word| format!("{word} in {name}")));
        if name.starts_with("src/") && file.outside_tests().contains(NOT_OUTSIDE_TESTS) {
            broken.push(format!("{NOT_OUTSIDE_TESTS} in {name}"));
        }
        if let Some(at) = file.text.lines().position(|line| !line.is_ascii()) {
            broken.push(format!("{name}:{} is not ASCII", at + 1));
        }
        if name.ends_with("/mod.rs") {
            broken.push(format!("{name}: name it after its folder, beside it"));
        }
        let lines = file.text.lines().count();
        if name.starts_with("src/") && lines > LONGEST_FILE {
            broken.push(format!("{name} has {lines} lines: split it"));
        }
    }
    none(broken);
}

#[test]
fn every_dependency_is_used() {
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let code = |folders: &[&str]| folders.iter().flat_map(|folder| sources(folder)).map(|file| file.code).collect::<String>();
    let (shipped, all) = (code(&["src"]), code(&["src", "tests", "examples"]));
    let mut broken = Vec::new();
    for (section, code) in [("dependencies", &shipped), ("dev-dependencies", &all)] {
        for name in manifest[section].as_table().unwrap().keys() {
            let name = name.replace('-', "_");
            let used = words(code, &name).any(|rest| rest.starts_with("::") || rest.starts_with(';'));
            if !used {
                broken.push(format!("[{section}] {name}"));
            }
        }
    }
    none(broken);
}

#[test]
fn the_top_level_is_tidy() {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap();
    let known = |name: &String| TOP_LEVEL.contains(&name.as_str()) || ignored.lines().any(|line| line[1..] == **name);
    let entries = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    none(entries.filter(|name| !known(name)).collect());
}

struct Source {
    /// From the top of the repository.
    name: String,
    /// As a path of modules: `web::api::users`.
    path: String,
    text: String,
    /// Without comments.
    code: String,
    /// Whether the whole file is compiled for tests only.
    for_tests: bool,
}

impl Source {
    fn read(file: &Path) -> Source {
        let name = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let path = name.split_once('/').unwrap().1.trim_end_matches(".rs").replace('/', "::");
        let text = fs::read_to_string(file).unwrap();
        let uncommented = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = uncommented.flat_map(|line| [line.split(" // ").next().unwrap(), "\n"]).collect();
        let module = file.file_stem().unwrap().to_str().unwrap();
        let parent = fs::read_to_string(file.parent().unwrap().with_extension("rs")).unwrap_or_default();
        let for_tests = parent.contains(&format!("#[cfg(test)]\nmod {module};"));
        Source { name, path, text, code, for_tests }
    }

    fn outside_tests(&self) -> &str {
        if self.for_tests { "" } else { self.code.split("mod tests {").next().unwrap() }
    }

    /// What it names of the house, as paths of modules.
    fn mentions(&self) -> Vec<String> {
        let above = vec!["super"; self.path.split("::").count()].join("::");
        let from_the_root = [("crate", self.code.as_str()), ("carport", &self.code), (&above, self.outside_tests())];
        let mentioned = from_the_root.into_iter().flat_map(|(top, code)| words(code, top));
        mentioned.filter_map(|rest| rest.strip_prefix("::")).flat_map(named).collect()
    }
}

/// The paths at the start of `code`: one, or the heads of a group in braces, `{a, b::{c, d}}` being `a` and `b`.
fn named(code: &str) -> Vec<String> {
    let Some(group) = code.strip_prefix('{') else {
        let end = code.find(|letter: char| !is_part(letter) && letter != ':').unwrap_or(code.len());
        return vec![code[..end].trim_end_matches(':').to_owned()];
    };
    let (mut found, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                found.extend(named(group[start..at].trim()));
                start = at + 1;
            }
            '}' => depth -= 1,
            _ => {}
        }
        if letter == '}' && start == at + 1 {
            break;
        }
    }
    found.retain(|path| !path.is_empty());
    found
}

/// What follows each `word` that stands alone in `code`.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    let alone = |at: usize| !code[..at].ends_with(is_part) && !code[at + word.len()..].starts_with(is_part);
    code.match_indices(word).filter(move |(at, _)| alone(*at)).map(|(at, _)| &code[at + word.len()..])
}

fn is_part(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

fn is_under(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The room that a path of modules leads to: the longest that stands on a floor, else the first part.
fn room(path: &str) -> String {
    let rooms = FLOORS.iter().flat_map(|floor| floor.iter()).filter(|room| is_under(path, room));
    rooms.max_by_key(|room| room.len()).copied().or_else(|| path.split("::").next()).unwrap().to_owned()
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

/// Every Rust file of a folder, if the folder is there.
fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && !["target", "node_modules"].iter().any(|other| path.ends_with(other)) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(Source::read(&path));
            }
        }
    }
    found
}

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

#[track_caller]
fn none(mut broken: Vec<String>) {
    broken.sort();
    broken.dedup();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}
