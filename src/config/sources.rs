//! Where the configuration comes from, and collecting what was written there.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::keys::{self, KEYS, Named};
use super::secrets;
use super::written::{Origin, Raw, Written, flatten};
use super::{Mistake, Mistakes};
use crate::operate::key_files;

/// Everything that the configuration may come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Values from flags, or set by a command.
    pub overrides: Overrides,
    /// `--lan`.
    pub lan: bool,
    /// The environment.
    pub environment: Environment,
    /// The file.
    pub file: ConfigFile,
    /// The current directory, from which relative paths outside the file count.
    pub directory: PathBuf,
}

/// Which file to read.
#[derive(Clone, Debug, Default)]
pub enum ConfigFile {
    /// None.
    #[default]
    None,
    /// This one; it must be there.
    At(PathBuf),
    /// The first that is there; none is fine.
    FirstOf(Vec<PathBuf>),
}

impl ConfigFile {
    /// The usual places: what `--config` says, else `./config.toml`, else `/etc/carport/config.toml`.
    pub fn usual(named: Option<&Path>, directory: &Path) -> ConfigFile {
        match named {
            Some(path) => ConfigFile::At(directory.join(path)),
            None => ConfigFile::FirstOf(vec![directory.join("config.toml"), PathBuf::from("/etc/carport/config.toml")]),
        }
    }

    /// The same for a program that goes on with what it found: the one of these that was read must be there again.
    #[must_use]
    pub fn found(self, read: &[PathBuf]) -> ConfigFile {
        match &self {
            ConfigFile::FirstOf(paths) => paths.iter().find(|path| read.contains(path)).cloned().map_or(self, ConfigFile::At),
            _ => self,
        }
    }

    /// Where the file is looked for.
    pub fn places(&self) -> &[PathBuf] {
        match self {
            ConfigFile::None => &[],
            ConfigFile::At(path) => std::slice::from_ref(path),
            ConfigFile::FirstOf(paths) => paths,
        }
    }
}

/// Values that win over everything else: by key, with the name of the flag.
#[derive(Clone, Debug, Default)]
pub struct Overrides(Vec<(String, Raw, String)>);

impl Overrides {
    /// Sets a key; lists are separated by commas, as in the environment. `origin` names the flag.
    pub fn set(mut self, key: &str, value: impl Into<String>, origin: &str) -> Overrides {
        self.0.push((key.to_owned(), Raw::Text(value.into()), origin.to_owned()));
        self
    }

    /// Sets a key to a list; an empty list sets nothing.
    pub fn set_list(mut self, key: &str, values: &[String], origin: &str) -> Overrides {
        if !values.is_empty() {
            let list = values.iter().cloned().map(Raw::Text).collect();
            self.0.push((key.to_owned(), Raw::List(list), origin.to_owned()));
        }
        self
    }
}

/// The environment's variables.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process. A name or value that is not Unicode is none of ours, or fails its check.
    pub fn of_process() -> Environment {
        let lossy = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        };
        Environment(std::env::vars_os().map(lossy).collect())
    }

    /// The variables of these keys and sections alone, and the names of the others that are ours.
    pub fn parted(&self, about: &[&str]) -> (Environment, Vec<String>) {
        let is_in = |key: &str, part: &str| key.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let is_wanted =
            |name: &str| keys::by_variable(name).is_some_and(|named| about.iter().any(|part| is_in(named.key.name, part)));
        let (mut wanted, mut others) = (Environment::default(), Vec::new());
        for (name, value) in self.0.iter().filter(|(name, _)| is_ours(name)) {
            if is_wanted(name) {
                wanted.0.insert(name.clone(), value.clone());
            } else {
                others.push(name.clone());
            }
        }
        (wanted, others)
    }

    /// The value of a variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Environment {
        Environment(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// SECURITY: the environment may hold anybody's secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.0.len())
    }
}

/// Everything that was written, by key; what stands higher in the order has replaced what is lower.
#[derive(Clone, Debug, Default)]
pub(super) struct Collected {
    pub(super) values: BTreeMap<&'static str, Written>,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<String>,
    /// Secrets that were read from files of their own: where they were named, and the file.
    secret_files: BTreeMap<String, (Origin, PathBuf)>,
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
    /// `--lan`.
    pub(super) lan: bool,
    /// Where relative paths outside the file count from.
    pub(super) directory: PathBuf,
    /// `$XDG_RUNTIME_DIR`.
    pub(super) runtime_dir: Option<PathBuf>,
}

/// Collects from all sources.
pub(super) fn collect(sources: &Sources) -> Collected {
    let mut collected = Collected {
        lan: sources.lan,
        directory: sources.directory.clone(),
        runtime_dir: sources.environment.get("XDG_RUNTIME_DIR").map(PathBuf::from),
        ..Collected::default()
    };
    // From the lowest to the highest: a later one replaces an earlier one.
    collected.take_file(sources);
    collected.take_credentials(sources);
    collected.take_sdk_names(sources);
    collected.take_environment(sources);
    for (key, value, flag) in &sources.overrides.0 {
        let named = keys::by_name(key).filter(|named| !named.in_file);
        let named = named.expect("commands set keys of the table only");
        collected.values.insert(named.key.name, Written { value: value.clone(), origin: Origin::Flag(flag.clone()) });
    }
    collected
}

impl Collected {
    fn take_file(&mut self, sources: &Sources) {
        let must_be_there = matches!(sources.file, ConfigFile::At(_));
        for path in sources.file.places() {
            match std::fs::read_to_string(path) {
                Ok(text) => {
                    self.file = Some(path.clone());
                    return self.take_text(&text, path, sources);
                }
                Err(error) if error.kind() == ErrorKind::NotFound && !must_be_there => {}
                Err(error) => {
                    let remedy = match error.kind() {
                        ErrorKind::InvalidData => "Save it as UTF-8",
                        _ => "Name another file with --config, or make this one readable",
                    };
                    return self.mistake("the configuration file", path.display(), format!("cannot be read: {error}"), remedy);
                }
            }
        }
    }

    fn take_text(&mut self, text: &str, path: &Path, sources: &Sources) {
        let (mut entries, syntax) = flatten(text);
        // What the parser makes of a broken line is not what was meant.
        let broken: Vec<usize> = syntax.iter().map(|mistake| mistake.line).collect();
        for mistake in syntax {
            let origin = Origin::File(path.to_owned(), mistake.line);
            self.mistake(
                "the configuration file",
                origin,
                format!("is not TOML here: {}", mistake.wrong),
                to_correct(text, mistake.line),
            );
        }
        let (mut layer, mut has_secret) = (Layer::default(), false);
        // Files last: whether one is wanted at all depends on what else is there.
        entries.sort_by_key(|entry| entry.name.ends_with("_file"));
        for entry in entries.into_iter().filter(|entry| !broken.contains(&entry.line)) {
            let origin = Origin::File(path.to_owned(), entry.line);
            let Some(named) = keys::by_name(&entry.name) else {
                if keys::is_section(&entry.name) {
                    let remedy = format!("Write {} = ... instead", keys::chief(&entry.name));
                    self.mistake(&entry.name, origin, "is a section, not a key", &remedy);
                    continue;
                }
                let remedy = keys::nearest(&entry.name).map_or_else(
                    || "Remove it; config.example.toml has every key".to_owned(),
                    |near| format!("Did you mean {near}?"),
                );
                self.mistake(&entry.name, origin, "is not a key", &remedy);
                continue;
            };
            has_secret |= named.key.secret && !named.in_file;
            layer.put(self, named, Written { value: entry.value, origin }, sources);
        }
        self.warnings.extend(secrets::exposed(path).filter(|_| has_secret));
        self.values.extend(layer.0.into_iter().map(|(key, (_, written))| (key, written)));
    }

    fn take_credentials(&mut self, sources: &Sources) {
        let Some(directory) = sources.environment.get("CREDENTIALS_DIRECTORY") else { return };
        for key in KEYS.iter().filter(|key| key.secret) {
            for name in [key.name.to_owned(), key.variable()] {
                let path = Path::new(directory).join(name);
                if path.exists() {
                    let origin = Origin::Credential(path.clone());
                    if let Some(value) = self.secret_in(key.name, &path, &origin) {
                        self.values.insert(key.name, Written { value, origin });
                    }
                }
            }
        }
    }

    fn take_sdk_names(&mut self, sources: &Sources) {
        let mut layer = Layer::default();
        for (name, value) in &sources.environment.0 {
            // An empty variable of the SDKs is none: it is not ours to complain about.
            if let Some(named) = keys::by_alias(name).filter(|_| !value.is_empty()) {
                let written = Written { value: Raw::Text(value.clone()), origin: Origin::Variable(name.clone()) };
                layer.put(self, named, written, sources);
            }
        }
        let id = sources.environment.get("SMARTCAR_CLIENT_ID");
        if let Some(id) = id {
            let key = if id.starts_with("client_") { "smartcar.v3.client_id" } else { "smartcar.v2.client_id" };
            let origin = Origin::Variable("SMARTCAR_CLIENT_ID".to_owned());
            self.values.insert(key, Written { value: Raw::Text(id.to_owned()), origin });
        }
        for variable in ["SMARTCAR_CLIENT_SECRET", "SMARTCAR_CLIENT_SECRET_FILE"] {
            let Some(value) = sources.environment.get(variable) else { continue };
            let Some(id) = id else {
                let remedy = "Set SMARTCAR_CLIENT_ID too, or use CARPORT_SMARTCAR_V3_CLIENT_SECRET";
                self.mistake(variable, variable, "does not say which client it belongs to", remedy);
                continue;
            };
            let key = if id.starts_with("client_") { "smartcar.v3.client_secret" } else { "smartcar.v2.client_secret" };
            let named = keys::by_name(key).map(|named| Named { in_file: variable.ends_with("_FILE"), ..named });
            if let Some(named) = named {
                let written = Written { value: Raw::Text(value.to_owned()), origin: Origin::Variable(variable.to_owned()) };
                layer.put(self, named, written, sources);
            }
        }
        self.values.extend(layer.0.into_iter().map(|(key, (_, written))| (key, written)));
    }

    fn take_environment(&mut self, sources: &Sources) {
        let mut layer = Layer::default();
        for (name, value) in &sources.environment.0 {
            if !is_ours(name) {
                continue;
            }
            let Some(named) = keys::by_variable(name) else {
                let remedy = keys::nearest_variable(name).map_or_else(
                    || "Remove it; config.example.toml has every key".to_owned(),
                    |near| format!("Did you mean {near}?"),
                );
                self.mistake(name, name, "is not a variable that Carport reads", &remedy);
                continue;
            };
            if value.is_empty() {
                self.mistake(named.key.name, name, "is empty", "Give it a value, or remove the variable");
                continue;
            }
            let written = Written { value: Raw::Text(value.clone()), origin: Origin::Variable(name.clone()) };
            layer.put(self, named, written, sources);
        }
        self.values.extend(layer.0.into_iter().map(|(key, (_, written))| (key, written)));
    }

    /// The secret in a file; a mistake is noted.
    fn secret_in(&mut self, key: &str, path: &Path, origin: &Origin) -> Option<Raw> {
        // Whoever has it has everything: more than a warning.
        let is_master = key == "key.secret" && !matches!(origin, Origin::Credential(_));
        if let (true, Ok(Some(mode))) = (is_master, key_files::exposed(path)) {
            let (wrong, shown) = (format!("can be read by others (mode {mode:o})"), path.display());
            self.mistake(key, origin, format!("its file {shown} {wrong}"), &format!("chmod 600 {shown}"));
            return None;
        }
        match secrets::read(path) {
            Ok(secret) => {
                self.warnings.extend(secret.warning);
                self.secret_files.insert(key.to_owned(), (origin.clone(), path.to_owned()));
                Some(Raw::List(secret.lines.into_iter().map(Raw::Text).collect()))
            }
            Err(wrong) => {
                self.mistake(key, origin, wrong, &format!("Put the secret into {}", path.display()));
                None
            }
        }
    }

    /// The file that a secret in effect was read from.
    pub(super) fn secret_file(&self, key: &str) -> Option<PathBuf> {
        let (origin, path) = self.secret_files.get(key)?;
        self.values.get(key).filter(|written| written.origin == *origin).map(|_| path.clone())
    }

    /// All files that were read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.secret_files.values().map(|(_, path)| path).chain(&self.file).cloned().collect()
    }

    pub(super) fn mistake(&mut self, key: &str, origin: impl fmt::Display, wrong: impl Into<String>, remedy: &str) {
        let remedy = remedy.to_owned();
        self.mistakes.push(Mistake { key: key.to_owned(), origin: origin.to_string(), wrong: wrong.into(), remedy });
    }

    /// The mistakes, if there are any.
    pub(super) fn verdict(&self) -> Result<(), Mistakes> {
        if self.mistakes.is_empty() { Ok(()) } else { Err(Mistakes(self.mistakes.clone())) }
    }
}

/// One source's values: by key, and whether it was the `_file` form.
#[derive(Default)]
struct Layer(BTreeMap<&'static str, (bool, Written)>);

impl Layer {
    fn put(&mut self, collected: &mut Collected, named: Named, written: Written, sources: &Sources) {
        let name = named.key.name;
        if let Some((_, other)) = self.0.get(name) {
            let wrong = format!("is set here and, by the name of a file, at {}", other.origin);
            return collected.mistake(name, &written.origin, wrong, "Remove one of them");
        }
        let written = if named.in_file {
            let Raw::Text(path) = &written.value else {
                return collected.mistake(name, &written.origin, "is not the path of a file", "Write a path in quotes");
            };
            let path = sources.directory.join(written.origin.directory().unwrap_or(Path::new(""))).join(path);
            match collected.secret_in(name, &path, &written.origin) {
                Some(value) => Written { value, ..written },
                None => return,
            }
        } else {
            written
        };
        self.0.insert(name, (named.in_file, written));
    }
}

/// What is to be done about a line that is not TOML. Most often an address or a name stands there bare.
fn to_correct(text: &str, line: usize) -> &'static str {
    let value = text.lines().nth(line.saturating_sub(1)).and_then(|line| line.split_once('=')).map(|(_, value)| value.trim());
    match value {
        Some(value) if value.starts_with(|first: char| first.is_ascii_alphanumeric() || "/:*+-_".contains(first)) => {
            "Put the value in quotes"
        }
        _ => "Correct the line",
    }
}

/// Whether a variable is meant for us. Kubernetes makes some for a service named `carport`.
fn is_ours(name: &str) -> bool {
    let made_by_kubernetes = name == "CARPORT_PORT" || name.starts_with("CARPORT_PORT_") || name.starts_with("CARPORT_SERVICE_");
    name.starts_with("CARPORT_") && !made_by_kubernetes
}
