//! The walls around `carport serve`: of all files of this machine it can reach those that it needs, and no others
//! (landlock(7)). What it must have is asked of the configuration, so nothing needs to be configured for it.
//!
//! Rights are on directories where files get replaced by others of the same name: secrets, certificates, `resolv.conf`.
//! A program of the owner's that writes DNS records has the same walls.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};

use super::Place;
use crate::config::{Config, Listen};
use crate::tls::{Acme, Dns, Source};

/// Puts up the walls. To be called before there are threads, which take them over; a kernel that knows none, or only
/// some, is no reason not to start.
pub(super) fn enter(config: &Config, place: &Place) {
    match Walls::of(config, place).put_up() {
        Ok(RulesetStatus::NotEnforced) => {
            tracing::info!("this kernel has no Landlock: files are kept apart by their modes alone");
        }
        Ok(_) => tracing::info!("files that are not needed are out of reach from now on (Landlock)"),
        Err(error) => tracing::info!(%error, "Landlock cannot be used: files are kept apart by their modes alone"),
    }
}

/// Whether this kernel can put them up.
pub(super) fn is_there() -> bool {
    let wanted = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(ABI::V1));
    wanted.and_then(Ruleset::create).is_ok()
}

/// What is left open.
#[derive(Debug, Default)]
struct Walls {
    /// To be read, with all below.
    read: Vec<PathBuf>,
    /// To be read and changed, with all below.
    change: Vec<PathBuf>,
    /// To be read and run, with all below.
    run: Vec<PathBuf>,
}

impl Walls {
    fn of(config: &Config, place: &Place) -> Walls {
        let mut walls = Walls { read: paths(SYSTEM), change: paths(DEVICES), run: Vec::new() };
        walls.change.push(config.data_dir.clone());
        walls.read.extend(homes(Path::new("/etc/resolv.conf")));
        config.files.iter().for_each(|file| walls.read.extend(homes(file)));
        for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR", "CREDENTIALS_DIRECTORY"] {
            walls.read.extend(place.environment.get(variable).map(PathBuf::from));
        }
        // Made at the first start, and replaced when it is rotated.
        if config.key.secret.is_none() {
            walls.change.extend(homes(&config.key.file));
        }
        let sockets = config.listen.iter().chain(&config.private_listen).filter_map(|listen| match listen {
            Listen::Unix(path) => Some(path),
            Listen::Tcp(_) => None,
        });
        sockets.chain([&config.socket]).for_each(|socket| walls.change.extend(homes(socket)));
        match config.tls.as_ref().map(|tls| &tls.source) {
            Some(Source::Files(files)) => walls.read.extend([&files.chain, &files.key].into_iter().flat_map(|file| homes(file))),
            Some(Source::Acme(Acme { ca_file, dns, .. })) => {
                walls.read.extend(ca_file.iter().flat_map(|file| homes(file)));
                if let Some(Dns::Exec(program)) = dns {
                    walls.run.extend(paths(PROGRAMS));
                    walls.run.extend(homes(program));
                }
            }
            Some(Source::SelfSigned) | None => {}
        }
        walls
    }

    fn put_up(&self) -> Result<RulesetStatus, RulesetError> {
        let all = AccessFs::from_all(ABI::V5);
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let rules = |paths: &[PathBuf], access: BitFlags<AccessFs>| path_beneath_rules(paths.to_vec(), access);
        let ruleset = Ruleset::default().handle_access(all)?.scope(Scope::Signal)?.create()?;
        let ruleset = ruleset.add_rules(rules(&self.read, read))?.add_rules(rules(&self.run, read | AccessFs::Execute))?;
        let ruleset = ruleset.add_rules(rules(&self.change, all ^ AccessFs::Execute))?;
        Ok(ruleset.restrict_self()?.ruleset)
    }
}

/// The directories that a file lies in, by its name and where links lead; of the root's own files, they alone.
fn homes(file: &Path) -> Vec<PathBuf> {
    let found = std::fs::canonicalize(file).ok();
    let home = |file: &Path| match file.parent() {
        Some(parent) if parent != Path::new("/") && parent != Path::new("") => parent.to_owned(),
        _ => file.to_owned(),
    };
    [Some(file), found.as_deref()].into_iter().flatten().map(home).collect()
}

fn paths(list: &[&str]) -> Vec<PathBuf> {
    list.iter().map(PathBuf::from).collect()
}

/// What any program reads: how names are resolved (and by which plug-ins of the C library), which roots are trusted, how
/// many processors there are, chance. Other processes stay closed: Landlock keeps from them what lies in their `/proc/PID`.
const SYSTEM: &[&str] = &[
    "/etc",
    "/lib",
    "/lib64",
    "/nix/store",
    "/proc",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/systemd",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/share",
    "/usr/share",
    "/dev/random",
    "/dev/urandom",
];

const DEVICES: &[&str] = &["/dev/null"];

/// Where programs and what they are made of lie, for one of the owner's that calls others.
const PROGRAMS: &[&str] = &["/bin", "/lib", "/lib64", "/nix/store", "/sbin", "/usr"];
